//! Several operators become one.

mod channels;
mod terms;
mod windows;

pub mod activation;
pub mod conv_affine;
pub mod conv_bn;
pub mod gelu;
pub mod hard_activation;
pub mod matmul_add;
pub mod summed_convs;
