//! Several operators become one.

mod channels;

pub mod conv_bn;
