//! Several operators become one.

mod channels;
mod scale_into;
mod scale_walk;

pub mod conv_affine;
pub mod conv_bn;
pub mod matmul_add;
pub mod matmul_scale;
