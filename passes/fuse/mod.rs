//! Several operators become one.

mod channels;
mod dims;
mod scale_into;
mod scale_walk;
mod terms;
mod windows;

pub mod activation;
pub mod affine_conv;
pub mod concat_bn;
pub mod concatenated_convs;
pub mod conv_affine;
pub mod conv_bn;
pub mod conv_conv;
pub mod depth_to_space;
pub mod gelu;
pub mod hard_activation;
pub mod matmul_add;
pub mod matmul_scale;
pub mod normalization;
pub mod pad;
pub mod reshaped_matmul;
pub mod softmax;
pub mod summed_convs;
pub mod transpose_squeeze;
