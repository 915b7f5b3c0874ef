//! What needs no arithmetic: removing, merging, inlining and naming.

pub mod broadcast_expand;
pub mod cast_like;
pub mod constant_if;
pub mod dead;
pub mod equal_initializers;
pub mod equal_nodes;
pub mod equal_shapes;
pub mod filled_bias;
pub mod functions;
pub mod identity;
pub mod names;
pub mod parallel_slices;
pub mod target_dims;
