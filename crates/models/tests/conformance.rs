//! Every base model of ours does what every base model must do.
#![allow(missing_docs)]

use scgraft_models::{Header, Model, ModelEntry, conformance, register, registry};
use serde_json::json;

fn every(check: fn(&ModelEntry)) {
    registry().into_iter().for_each(check);
}

#[test]
fn gradients_agree_with_differences_of_the_loss() {
    every(conformance::gradients_agree_with_differences_of_the_loss);
}

#[test]
fn the_same_bits_on_one_thread_and_on_three() {
    every(conformance::the_same_bits_on_one_thread_and_on_three);
}

#[test]
fn a_saved_model_is_the_same_model_and_the_same_bytes() {
    every(conformance::a_saved_model_is_the_same_model_and_the_same_bytes);
}

#[test]
fn surgery_leaves_the_reference_as_it_was_to_the_bit() {
    every(conformance::surgery_leaves_the_reference_as_it_was_to_the_bit);
}

#[test]
fn adaptors_commute_and_travel_in_files() {
    every(conformance::adaptors_commute_and_travel_in_files);
}

#[test]
fn every_granularity_trains_what_it_says() {
    every(conformance::every_granularity_trains_what_it_says);
}

#[test]
fn small_and_empty_batches_of_cells_give_numbers() {
    every(conformance::small_and_empty_batches_of_cells_give_numbers);
}

#[test]
fn the_published_settings_are_settings() {
    every(conformance::the_published_settings_are_settings);
}

#[test]
fn known_conditions_are_refused() {
    every(conformance::known_conditions_are_refused);
}

#[test]
fn published_settings_differ_from_ours() {
    for entry in registry() {
        let published = (entry.published_settings)();
        assert!(published.as_object().is_some_and(|p| !p.is_empty()), "{}: {published}", entry.name);
    }
}

#[test]
fn unknown_and_taken_names_are_refused() {
    let error = Model::new("nonesuch", &json!({}), Header::default(), 1).unwrap_err().to_string();
    assert!(error.contains("nonesuch") && error.contains("expimap"), "{error}");
    let error = register(*registry()[0]).unwrap_err().to_string();
    assert!(error.contains("no other model has"), "{error}");
}
