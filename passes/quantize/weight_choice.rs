//! How a weight is stored in 8 or 4 bits for operators that compute in floats.

use anyhow::bail;

use crate::prelude::*;

use super::adjust::Adjust;
use super::blocks::{Codes, Granularity, Layout, ScaleSearch, Scales};
use super::codes::{Rows, bounds};
use super::multiplied::{Known, give_back, joined};
use super::packed::{Packer, import_microsoft};
use super::rounding::Rounding;
use super::sites::{Site, Wanted};
use super::stays::entry;

/// Why a weight stays that is small as it is.
pub(super) const SMALLER: &str = "its weight would not get smaller";

/// The options of `quantize-weights`, with the profile's word where they say nothing.
pub(super) struct WeightChoice {
    /// The pass.
    pub pass: &'static str,
    /// Which weights.
    pub wanted: Wanted,
    /// The type of the codes.
    pub weights: DType,
    /// Which elements share a scale.
    pub granularity: Granularity,
    /// Elements of a block.
    pub block: usize,
    /// Zero points in the middle.
    pub symmetric: bool,
    /// How matrix products read their weights.
    pub form: WeightOnly,
    /// What `MatMulNBits` says of the precision that it needs.
    pub accuracy_level: Option<u8>,
    /// How scales are chosen.
    pub search: ScaleSearch,
    /// How weights are rounded.
    pub rounding: Rounding,
}

/// What became of a weight.
pub(super) struct Made {
    /// What the report says of its readers, and what each makes.
    pub lines: Vec<(LayerReport, ValueId)>,
    /// The opset that has the operators.
    pub opset: i64,
}

impl WeightChoice {
    /// Whether it looks at what weights are multiplied with.
    pub fn measures(&self) -> bool {
        self.rounding == Rounding::Compensated || self.search != ScaleSearch::MinMax
    }

    fn codes(&self, scales: DType) -> Codes {
        let (low, high) = bounds(self.weights);
        let bounds = (low as f64, high as f64);
        Codes { dtype: self.weights, bounds, symmetric: self.symmetric, scales }
    }

    /// Stores a weight; `None` where that would not make it smaller.
    pub fn store(&self, scope: &mut Scope<'_>, site: &Site, known: &Known) -> Result<Option<Made>, IrError> {
        let data = scope.graph.constant(site.value).cloned();
        let Some((data, rows)) = data.and_then(|d| Some((d.clone(), Rows::of(&d, site.view.axis)?))) else {
            return Ok(None);
        };
        let codes = self.codes(data.dtype());
        let layout = site.layout(data.dims(), self.granularity, self.block);
        let adjust = Adjust { codes, search: self.search, rounding: self.rounding };
        let joined = joined(site, known);
        let given = site.readers.iter().all(|r| r.bias.is_some());
        let made = adjust.weight(&rows, &layout, joined.as_ref().map(|inputs| (inputs, given)));
        let packer = Packer { pass: self.pass, codes: &codes, accuracy_level: self.accuracy_level };
        let Some(stored) = packer.dequantize(&layout, &made).filter(|s| s.bytes() < data.byte_len()) else {
            return Ok(None);
        };
        let mut lines = Vec::new();
        for reader in &site.readers {
            let line = entry(scope.graph, reader.node);
            let weight = Some(made.told(&layout, &rows));
            lines.push((LayerReport { bytes_before: data.byte_len(), weight, ..line }, reader.result));
        }
        if self.rounding == Rounding::Compensated {
            give_back(scope, site, known, (&rows, &layout, &made))?;
        }
        let product = self.form == WeightOnly::MatMulNBits && site.readers.iter().all(|r| r.plain);
        let packed = if product { packer.n_bits(scope, site, &layout, &made)? } else { None };
        let (name, bytes) = if let Some(bytes) = packed {
            ("MatMulNBits ", bytes)
        } else {
            let bytes = stored.bytes();
            packer.place(scope, site, &layout, stored)?;
            ("", bytes)
        };
        let form = format!("{name}{}", self.form_of(&layout));
        for (at, (line, _)) in lines.iter_mut().enumerate() {
            line.form.clone_from(&form);
            // What is shared counts once.
            line.bytes_after = if at == 0 { bytes } else { 0 };
            line.bytes_before = if at == 0 { line.bytes_before } else { 0 };
        }
        let opset = if packed.is_some() { 0 } else { self.opset(&layout, data.dtype()) };
        Ok(Some(Made { lines, opset }))
    }

    /// The opset that has a layout.
    fn opset(&self, layout: &Layout, scales: DType) -> i64 {
        match layout.scales {
            Scales::Block { .. } => 21,
            _ if self.weights.bits() < 8 => 21,
            _ if scales == DType::Float16 => 19,
            _ => 13,
        }
    }

    /// What the report calls a layout.
    fn form_of(&self, layout: &Layout) -> String {
        let scales = match layout.scales {
            Scales::Tensor => "per tensor".to_owned(),
            Scales::Channel => "per channel".to_owned(),
            Scales::Block { size, .. } => format!("in blocks of {size}"),
        };
        format!(
            "float×{}{} {scales}",
            if self.weights.is_signed_int() { 's' } else { 'u' },
            self.weights.bits()
        )
    }

    /// Lets the model ask for the operators that it has now.
    pub fn declare(&self, model: &mut Model, cx: &mut PassContext<'_>, opset: i64) -> anyhow::Result<()> {
        if let Some(newest) = cx.profile.opset.filter(|&newest| opset > newest) {
            bail!(
                "the profile `{}` reads opset {newest} at most, and DequantizeLinear has {} only since opset {opset}: say \
                `weights: int8` and `granularity: per-channel`",
                cx.profile.name,
                if self.weights.bits() < 8 { "4 bits" } else { "blocks" }
            );
        }
        if opset > 0 {
            require_opset(model, opset, cx);
        }
        import_microsoft(model, cx);
        Ok(())
    }
}
