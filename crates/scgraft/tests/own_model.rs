//! The example of a model of one's own runs.

#[path = "../examples/own_model.rs"]
mod example;

#[test]
fn a_model_from_outside_is_trained_grafted_and_kept_like_ours() {
    example::main().unwrap();
}
