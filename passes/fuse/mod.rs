//! Several operators become one.

mod channels;
mod dims;
mod scale_into;
mod scale_walk;

pub mod conv_affine;
pub mod conv_bn;
pub mod matmul_add;
pub mod matmul_scale;
pub mod reshaped_matmul;
pub mod transpose_squeeze;
