//! What training must do: find others' optima, end for the right reason, weigh rows as it says, score as scikit-learn does.

mod behaviour;
mod common;
mod divergence;
mod evaluating;
mod loop_;
mod optima;
mod policies;
mod scores;
mod text;
mod weights;
