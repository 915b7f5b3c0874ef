//! The passes, one per file, and the table that names them.

pub mod convert;
pub mod fold;
pub mod fuse;
pub mod prune;
pub mod quantize;
pub mod simplify;

use serde::{Deserialize, Deserializer};

use crate::pass::Pass;

macro_rules! registry {
    ($($id:literal => $name:ident($path:path),)*) => {
        /// Any pass, with its options.
        #[derive(Debug, Clone)]
        #[allow(missing_docs)]
        pub enum AnyPass { $($name($path),)* }

        impl AnyPass {
            /// The ids of all passes, in the order of the table.
            pub const IDS: &'static [&'static str] = &[$($id,)*];

            /// The pass with this id and default options.
            pub fn named(id: &str) -> Option<Self> {
                match id { $($id => Some(Self::$name(Default::default())),)* _ => None }
            }

            /// The pass with this id, its options read from a deserializer; nothing at all means the defaults.
            ///
            /// # Errors
            /// Those of the deserializer; an unknown id.
            pub fn deserialize_options<'de, D: Deserializer<'de>>(id: &str, from: D) -> Result<Self, D::Error> {
                match id {
                    $($id => Ok(Self::$name(Option::deserialize(from)?.unwrap_or_default())),)*
                    _ => Err(serde::de::Error::unknown_variant(id, Self::IDS)),
                }
            }

            /// The JSON schema of the options of the pass with this id; its description is the pass's documentation.
            pub fn schema(id: &str) -> Option<schemars::Schema> {
                match id { $($id => Some(schemars::schema_for!($path)),)* _ => None }
            }

            /// Where the type of the pass with this id is, from the folder of the passes: `family::file::Type`.
            pub fn type_path(id: &str) -> Option<&'static str> {
                match id { $($id => Some(stringify!($path)),)* _ => None }
            }

            /// The pass behind it.
            pub fn as_pass(&self) -> &dyn Pass {
                match self { $(Self::$name(pass) => pass,)* }
            }

            /// The effective options, for reports and `recipe show`.
            pub fn options(&self) -> serde_json::Value {
                match self { $(Self::$name(pass) => serde_json::to_value(pass).unwrap_or_default(),)* }
            }
        }

        /// The same pass with the same options.
        impl PartialEq for AnyPass {
            fn eq(&self, other: &Self) -> bool {
                self.as_pass().meta().id == other.as_pass().meta().id && self.options() == other.options()
            }
        }
    };
}

registry! {
    "absorb-signs" => AbsorbSigns(simplify::signs::AbsorbSigns),
    "assign-precision" => AssignPrecision(quantize::precision::AssignPrecision),
    "cancel-inverses" => CancelInverses(simplify::inverses::CancelInverses),
    "cancel-split-concat" => CancelSplitConcat(simplify::split_concat::CancelSplitConcat),
    "convert-float16" => ConvertFloat16(convert::float16::ConvertFloat16),
    "correct-bias" => CorrectBias(quantize::bias::CorrectBias),
    "drop-broadcast-expand" => DropBroadcastExpand(simplify::broadcast_expand::DropBroadcastExpand),
    "drop-dead" => DropDead(simplify::dead::DropDead),
    "drop-identity" => DropIdentity(simplify::identity::DropIdentity),
    "drop-io-qdq" => DropIoQdq(convert::io_qdq::DropIoQdq),
    "drop-monotone" => DropMonotone(simplify::monotone::DropMonotone),
    "drop-neutral" => DropNeutral(simplify::neutral::DropNeutral),
    "drop-no-ops" => DropNoOps(simplify::no_ops::DropNoOps),
    "drop-outputs" => DropOutputs(simplify::outputs::DropOutputs),
    "drop-scatters" => DropScatters(simplify::scatters::DropScatters),
    "drop-zero-bias" => DropZeroBias(simplify::zero_bias::DropZeroBias),
    "equalize-layers" => EqualizeLayers(quantize::layers::EqualizeLayers),
    "extract" => Extract(convert::extract::Extract),
    "factorize" => Factorize(prune::factorize::Factorize),
    "fold-constants" => FoldConstants(fold::constants::FoldConstants),
    "fold-gather-layout" => FoldGatherLayout(fold::gather_layout::FoldGatherLayout),
    "fold-preprocessing" => FoldPreprocessing(convert::preprocessing::FoldPreprocessing),
    "fuse-activation" => FuseActivation(fuse::activation::FuseActivation),
    "fuse-affine-conv" => FuseAffineConv(fuse::affine_conv::FuseAffineConv),
    "fuse-concat-bn" => FuseConcatBn(fuse::concat_bn::FuseConcatBn),
    "fuse-concatenated-convs" => FuseConcatenatedConvs(fuse::concatenated_convs::FuseConcatenatedConvs),
    "fuse-conv-affine" => FuseConvAffine(fuse::conv_affine::FuseConvAffine),
    "fuse-conv-bn" => FuseConvBn(fuse::conv_bn::FuseConvBn),
    "fuse-conv-conv" => FuseConvConv(fuse::conv_conv::FuseConvConv),
    "fuse-depth-to-space" => FuseDepthToSpace(fuse::depth_to_space::FuseDepthToSpace),
    "fuse-gelu" => FuseGelu(fuse::gelu::FuseGelu),
    "fuse-hard-activation" => FuseHardActivation(fuse::hard_activation::FuseHardActivation),
    "fuse-matmul-add" => FuseMatmulAdd(fuse::matmul_add::FuseMatmulAdd),
    "fuse-matmul-scale" => FuseMatmulScale(fuse::matmul_scale::FuseMatmulScale),
    "fuse-normalization" => FuseNormalization(fuse::normalization::FuseNormalization),
    "fuse-pad" => FusePad(fuse::pad::FusePad),
    "fuse-reshaped-matmul" => FuseReshapedMatmul(fuse::reshaped_matmul::FuseReshapedMatmul),
    "fuse-softmax" => FuseSoftmax(fuse::softmax::FuseSoftmax),
    "fuse-summed-convs" => FuseSummedConvs(fuse::summed_convs::FuseSummedConvs),
    "fuse-transpose-squeeze" => FuseTransposeSqueeze(fuse::transpose_squeeze::FuseTransposeSqueeze),
    "import-qat" => ImportQat(quantize::qat::ImportQat),
    "inline-constant-if" => InlineConstantIf(simplify::constant_if::InlineConstantIf),
    "inline-functions" => InlineFunctions(simplify::functions::InlineFunctions),
    "io-dtype" => IoDtype(convert::dtype::IoDtype),
    "io-layout" => IoLayout(convert::layout::IoLayout),
    "merge-casts" => MergeCasts(simplify::casts::MergeCasts),
    "merge-clips" => MergeClips(simplify::clips::MergeClips),
    "merge-concats" => MergeConcats(simplify::concats::MergeConcats),
    "merge-constants" => MergeConstants(simplify::constants::MergeConstants),
    "merge-equal-nodes" => MergeEqualNodes(simplify::equal_nodes::MergeEqualNodes),
    "merge-equal-shapes" => MergeEqualShapes(simplify::equal_shapes::MergeEqualShapes),
    "merge-nested-reduces" => MergeNestedReduces(simplify::nested_reduces::MergeNestedReduces),
    "merge-parallel-slices" => MergeParallelSlices(simplify::parallel_slices::MergeParallelSlices),
    "merge-reduces" => MergeReduces(simplify::reduces::MergeReduces),
    "merge-reshapes" => MergeReshapes(simplify::reshapes::MergeReshapes),
    "merge-slices" => MergeSlices(simplify::slices::MergeSlices),
    "merge-transposes" => MergeTransposes(simplify::transposes::MergeTransposes),
    "migrate-scales" => MigrateScales(quantize::scales::MigrateScales),
    "prune-channels" => PruneChannels(prune::channels::PruneChannels),
    "prune-weights" => PruneWeights(prune::weights::PruneWeights),
    "quantize-dynamic" => QuantizeDynamic(quantize::dynamic::QuantizeDynamic),
    "quantize-static" => QuantizeStatic(quantize::r#static::QuantizeStatic),
    "quantize-weights" => QuantizeWeights(quantize::weights::QuantizeWeights),
    "remove-dead-channels" => RemoveDeadChannels(prune::dead_channels::RemoveDeadChannels),
    "rename-io" => RenameIo(convert::io::RenameIo),
    "resolve-cast-like" => ResolveCastLike(simplify::cast_like::ResolveCastLike),
    "resolve-sequences" => ResolveSequences(simplify::sequences::ResolveSequences),
    "resolve-target-dims" => ResolveTargetDims(simplify::target_dims::ResolveTargetDims),
    "resolve-where" => ResolveWhere(simplify::r#where::ResolveWhere),
    "share-equal-initializers" => ShareEqualInitializers(simplify::equal_initializers::ShareEqualInitializers),
    "shorten-names" => ShortenNames(simplify::names::ShortenNames),
    "use-global-pool" => UseGlobalPool(simplify::global_pool::UseGlobalPool),
}
