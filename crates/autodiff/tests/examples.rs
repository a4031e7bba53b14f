//! The examples run, and what they assert holds.

#[path = "../examples/adaptive_steps.rs"]
mod adaptive_steps;
#[path = "../examples/own_operation.rs"]
mod own_operation;

#[test]
fn an_operation_of_ones_own_finds_the_closed_form() {
    own_operation::main();
}

#[test]
fn a_model_that_refines_until_it_rests_learns() {
    adaptive_steps::main();
}
