//! The operations, one file each: shapes and both formulas above, forward, backward, its check below. They are used as methods of
//! [`Tape`](crate::Tape).

pub mod abs;
pub mod add;
pub mod bce_with_logits;
pub mod dense;
pub mod div;
pub mod elu;
pub mod exp;
pub mod gelu;
pub mod hinge;
pub mod huber;
pub mod kl_divergence;
pub mod l1;
pub mod leaky_relu;
pub mod ln;
pub mod loss;
pub mod mse;
pub mod mul;
pub mod neg;
pub mod poisson;
pub mod quantile;
pub mod relu;
pub mod reshape;
pub mod scale;
pub mod shift;
pub mod sigmoid;
pub mod silu;
pub mod softmax_cross_entropy;
pub mod softplus;
pub mod sqrt;
pub mod square;
pub mod sub;
pub mod sum;
pub mod tanh;
