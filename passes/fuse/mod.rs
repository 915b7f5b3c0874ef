//! Several operators become one.

mod channels;

pub mod conv_affine;
pub mod conv_bn;
pub mod matmul_add;
pub mod summed_convs;
mod windows;
