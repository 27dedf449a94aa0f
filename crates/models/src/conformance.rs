//! What every base model must do, as checks that panic where a model does not: for tests, of our models and of those that
//! users register.
//!
//! [`all`] runs every check on one model, at the settings that it calls small.

use std::slice::from_ref;

use scgraft_cells::{
    Array, Cells, Column, ConditionSource, Csr, Dense, Frame, Kind, Matrix, PrepareOptions, Prepared, ProteinSource,
};
use scgraft_engine::{Adam, AdamConfig, Grads, Key, Noise, Workspace};
use serde_json::Value;

use crate::{
    Adaptor, Batch, Granularity, Header, Input, Known, Membership, Model, ModelEntry, Newcomers, Program, Segment,
    Step, Surgery,
};

const GENES: usize = 24;
const PROTEINS: usize = 6;
const STEP: Step = Step { epoch: 20, epochs: 1000, learning_rate: 1e-3, annealed: 0.3 };

/// Every check.
///
/// # Panics
/// Where the model fails one; the message says which tensor, condition or batch.
pub fn all(entry: &ModelEntry) {
    gradients_agree_with_differences_of_the_loss(entry);
    the_same_bits_on_one_thread_and_on_three(entry);
    a_saved_model_is_the_same_model_and_the_same_bytes(entry);
    surgery_leaves_the_reference_as_it_was_to_the_bit(entry);
    adaptors_commute_and_travel_in_files(entry);
    every_granularity_trains_what_it_says(entry);
    small_and_empty_batches_of_cells_give_numbers(entry);
    the_published_settings_are_settings(entry);
    known_conditions_are_refused(entry);
}

/// Cells of the conditions named, in turn; the last cell has no counts.
fn cells(kind: Kind, conditions: &[&str], n: usize, seed: u64) -> Cells {
    let key = Key::new(seed);
    let mut x = Csr { n_rows: n, n_cols: GENES, indptr: vec![0], ..Csr::default() };
    for c in 0..n {
        for g in 0..GENES {
            let at = (c * GENES + g) as u64;
            if c + 1 < n && key.below(2 * at, 3) == 0 {
                x.indices.push(g as u32);
                let count = 1.0 + key.below(2 * at + 1, 9) as f32;
                x.values.push(if kind == Kind::Counts { count } else { count.ln_1p() });
            }
        }
        x.indptr.push(x.indices.len());
    }
    let mut obs = Frame::new((0..n).map(|i| format!("cell{i}")).collect());
    let names: Vec<&str> = (0..n).map(|i| conditions[i % conditions.len()]).collect();
    obs.set("batch", Column::categorical(&names));
    // Every third cell has no label.
    let kinds: Vec<&str> = (0..n).map(|i| ["T", "B", "?"][i % 3]).collect();
    obs.set("cell_type", Column::categorical(&kinds));
    // The last condition lacks the last protein.
    let measured =
        |c: usize, p: usize| p + 1 < PROTEINS || !(c + 1).is_multiple_of(conditions.len()) || conditions.len() == 1;
    let count =
        |c: usize, p: usize| if measured(c, p) { key.below((1 << 20) + (c * PROTEINS + p) as u64, 30) } else { 0 };
    let counts = (0..n * PROTEINS).map(|i| count(i / PROTEINS, i % PROTEINS) as f32).collect();
    let var = Frame::new((0..GENES).map(|g| format!("gene{g}")).collect());
    let mut cells = Cells::new(Matrix::Sparse(x), obs, var);
    cells.obsm.insert("protein".into(), Array::Dense(Dense::new(n, PROTEINS, counts)));
    cells
}

fn kind(entry: &ModelEntry) -> Kind {
    (entry.values)(&(entry.small)())
}

fn options(kind: Kind) -> PrepareOptions {
    PrepareOptions {
        condition: ConditionSource::Columns(vec!["batch".into()]),
        label: Some("cell_type".into()),
        unlabelled: Some("?".into()),
        proteins: Some(ProteinSource { obsm: "protein".into(), names: None }),
        kind,
        ..PrepareOptions::default()
    }
}

fn reference_data(entry: &ModelEntry, conditions: &[&str]) -> Prepared {
    let kind = kind(entry);
    Prepared::reference(&cells(kind, conditions, 40, 1), None, &options(kind)).unwrap()
}

fn model(entry: &ModelEntry, data: &Prepared) -> Model {
    model_of(entry, &(entry.small)(), data)
}

fn model_of(entry: &ModelEntry, settings: &Value, data: &Prepared) -> Model {
    let members = |j: u32| (0..GENES as u32).filter(|g| (g + j) % 4 < 2).collect();
    let programs = (0..5).map(|j| Program { name: format!("program{j}"), members: members(j) }).collect();
    let segment = Segment { origin: None, membership: Membership::Hard, programs };
    let known = data.known();
    let known = Known {
        labels: if entry.needs.contains(&Input::Labels) { known.labels } else { Vec::new() },
        proteins: if entry.reads(Input::Proteins) { known.proteins } else { Vec::new() },
        ..known
    };
    let segments = if entry.reads(Input::Programs) { vec![segment] } else { Vec::new() };
    let mut model = Model::new(entry.name, settings, Header { known, segments, ..Header::default() }, 4).unwrap();
    model.read_data(data).unwrap();
    model
}

fn batch(model: &Model, data: &Prepared, rows: &[usize]) -> Batch {
    let mut batch = Batch::default();
    batch.fill(data, rows, model.input_scale()).unwrap();
    let is_labelled = |r: &usize| data.labels.as_ref().is_some_and(|l| l.codes[*r].is_some());
    let labelled: Vec<usize> = rows.iter().copied().filter(is_labelled).collect();
    if model.network.classifier().is_some_and(|c| c.wants_labelled()) && !labelled.is_empty() {
        batch.labelled.get_or_insert_default().fill(data, &labelled, model.input_scale()).unwrap();
    }
    batch
}

fn total(model: &Model, batch: &Batch, grads: Option<&mut Grads>) -> f64 {
    let mut workspace = Workspace::new();
    let noise = Noise::Key(Key::new(8));
    let mut tape = model.tape(&mut workspace, noise, grads.is_some());
    let loss = model.network.loss(&mut tape, batch, &STEP);
    let total = loss.iter().map(|t| f64::from(tape.scalar(t.value)) * f64::from(t.weight)).sum();
    let roots: Vec<_> = loss.iter().map(|t| (t.value, t.weight)).collect();
    match grads {
        Some(grads) => tape.backward(&roots, grads),
        None => tape.finish(),
    }
    total
}

fn train(model: &mut Model, data: &Prepared, steps: usize) {
    let mut adam = Adam::new(&model.params, AdamConfig { weight_decay: 0.04, ..AdamConfig::default() });
    let mut grads = Grads::new(&model.params);
    for s in 0..steps {
        let rows: Vec<usize> = (0..16).map(|i| (i * 3 + s) % data.n_cells()).collect();
        let batch = batch(model, data, &rows);
        total(model, &batch, Some(&mut grads));
        adam.step(&mut model.params, &grads, 1e-2);
        model.params.apply_updates(grads.updates());
        model.network.after_step(&mut model.params, &STEP);
    }
}

fn query(model: &Model, conditions: &[&str]) -> Prepared {
    let kind = kind(model.entry);
    Prepared::query(&cells(kind, conditions, 30, 2), &model.header.known, &options(kind)).unwrap()
}

fn graft(model: &Model, name: &str, condition: &str) -> (Model, Adaptor) {
    let hash = model.reference_hash();
    let data = query(model, &[condition]);
    let mut grafted = model.surgery(&Surgery::adaptor(name), &model.newcomers(&data), 6).unwrap();
    grafted.read_data(&data).unwrap();
    train(&mut grafted, &data, 5);
    let adaptor = grafted.adaptors(&hash).unwrap().into_iter().find(|a| a.origin.name == name).unwrap();
    (grafted, adaptor)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// The gradient of the loss by each tensor is that of its differences.
///
/// # Panics
/// Where it does not hold.
pub fn gradients_agree_with_differences_of_the_loss(entry: &ModelEntry) {
    let data = reference_data(entry, &["a", "b", "c"]);
    let mut model = model(entry, &data);
    let one = batch(&model, &data, &(0..40).collect::<Vec<_>>());
    let mut grads = Grads::new(&model.params);
    total(&model, &one, Some(&mut grads));
    for id in model.params.ids() {
        let g = grads.get(id).to_vec();
        // Along the gradient itself, where rounding matters least.
        let norm = g.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        if norm < 1e-3 {
            continue;
        }
        let before = model.params.values(id).to_vec();
        let h = 2e-3;
        let mut at = |sign: f64| {
            let shifted = before.iter().zip(&g).map(|(&w, &d)| w + (sign * h * f64::from(d) / norm) as f32);
            model.params.get_mut(id).put(shifted.collect());
            total(&model, &one, None)
        };
        let slope = (at(1.0) - at(-1.0)) / (2.0 * h);
        model.params.get_mut(id).put(before);
        let error = (slope - norm).abs() / norm;
        assert!(error < 0.02, "{}: `{}`: {slope} along a gradient of {norm}", entry.name, model.params.get(id).name);
    }
}

/// Training gives the same bits on any number of threads.
///
/// # Panics
/// Where it does not hold.
pub fn the_same_bits_on_one_thread_and_on_three(entry: &ModelEntry) {
    let data = reference_data(entry, &["a", "b"]);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut model = model(entry, &data);
            train(&mut model, &data, 6);
            model
        })
    };
    let (one, three) = (run(1), run(3));
    for (a, b) in one.params.iter().zip(three.params.iter()) {
        assert_eq!(bits(a.values()), bits(b.values()), "{}: `{}`", entry.name, a.name);
    }
}

/// A file gives the model back, to the bit; one cut short is an error.
///
/// # Panics
/// Where it does not hold.
pub fn a_saved_model_is_the_same_model_and_the_same_bytes(entry: &ModelEntry) {
    let data = reference_data(entry, &["a", "b"]);
    let mut model = model(entry, &data);
    train(&mut model, &data, 3);
    let bytes = model.to_bytes().unwrap();
    let again = Model::from_bytes(&bytes).unwrap();
    assert_eq!(again.to_bytes().unwrap(), bytes, "{}", entry.name);
    assert_eq!(model.latent(&data).unwrap(), again.latent(&data).unwrap(), "{}", entry.name);
    // A damaged file is an error, whatever byte is gone.
    for cut in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        assert!(Model::from_bytes(&bytes[..cut]).is_err(), "{}: {cut} bytes", entry.name);
    }
}

/// A graft changes neither the reference's tensors nor where its cells lie.
///
/// # Panics
/// Where it does not hold.
pub fn surgery_leaves_the_reference_as_it_was_to_the_bit(entry: &ModelEntry) {
    let data = reference_data(entry, &["a", "b"]);
    let mut reference = model(entry, &data);
    train(&mut reference, &data, 4);
    let before = reference.latent(&data).unwrap();
    let (grafted, _) = graft(&reference, "site", "new");
    assert_eq!(grafted.latent(&query_of_reference(&grafted)).unwrap(), before, "{}: latent moved", entry.name);
    for (new, old) in grafted.params.iter().zip(reference.params.iter()) {
        let kept = old.n_values();
        assert_eq!(bits(&new.values()[..kept]), bits(old.values()), "{}: `{}`", entry.name, old.name);
    }
    let grown = grafted.params.iter().zip(reference.params.iter()).any(|(n, o)| n.n_values() > o.n_values());
    assert!(grown, "{}: nothing grew", entry.name);
}

/// The reference's cells, prepared for a model that has learnt more conditions.
fn query_of_reference(model: &Model) -> Prepared {
    let kind = kind(model.entry);
    Prepared::query(&cells(kind, &["a", "b"], 40, 1), &model.header.known, &options(kind)).unwrap()
}

/// Adaptors attached in any order, from files, give the same model; those of another reference are refused.
///
/// # Panics
/// Where it does not hold.
pub fn adaptors_commute_and_travel_in_files(entry: &ModelEntry) {
    let data = reference_data(entry, &["a", "b"]);
    let mut reference = model(entry, &data);
    train(&mut reference, &data, 4);
    let (grafted, first) = graft(&reference, "x", "site x");
    let (_, second) = graft(&reference, "y", "site y");
    let first = Adaptor::from_bytes(&first.to_bytes().unwrap()).unwrap();
    let one_way = reference.attach(from_ref(&first)).unwrap().attach(from_ref(&second)).unwrap();
    let other_way = reference.attach(from_ref(&second)).unwrap().attach(from_ref(&first)).unwrap();
    assert_eq!(one_way.header, other_way.header, "{}", entry.name);
    for (a, b) in one_way.params.iter().zip(other_way.params.iter()) {
        assert_eq!(bits(a.values()), bits(b.values()), "{}: `{}`", entry.name, a.name);
    }
    // Attached, an adaptor gives the latent space it was trained to give.
    let attached = reference.attach(&[first]).unwrap();
    let cells = query(&attached, &["site x"]);
    let trained = grafted.latent(&query(&grafted, &["site x"])).unwrap();
    assert_eq!(attached.latent(&cells).unwrap(), trained, "{}", entry.name);
    assert!(attached.attach(&[second.clone(), second]).is_err(), "{}: the same graft twice", entry.name);
    let mut other = model(entry, &data);
    train(&mut other, &data, 1);
    let (_, foreign) = graft(&other, "z", "site z");
    let error = reference.attach(&[foreign]).unwrap_err().to_string();
    assert!(error.contains("another reference"), "{error}");
}

/// The more a surgery may change, the more trains.
///
/// # Panics
/// Where it does not hold.
pub fn every_granularity_trains_what_it_says(entry: &ModelEntry) {
    let data = reference_data(entry, &["a", "b"]);
    let reference = model(entry, &data);
    let trained = |granularity| {
        let plan = Surgery { granularity, ..Surgery::adaptor("q") };
        reference.surgery(&plan, &Newcomers::of(["new"]), 1).unwrap().params.n_trainable()
    };
    let (adaptor, first, all) =
        (trained(Granularity::Adaptor), trained(Granularity::FirstLayers), trained(Granularity::All));
    assert!(0 < adaptor && adaptor < first && first < all, "{}: {adaptor}, {first}, {all}", entry.name);
}

/// Batches of one cell, and of cells without counts, give numbers; one condition is enough.
///
/// # Panics
/// Where it does not hold.
pub fn small_and_empty_batches_of_cells_give_numbers(entry: &ModelEntry) {
    let data = reference_data(entry, &["only"]);
    let model = model(entry, &data);
    let last = data.n_cells() - 1; // no counts at all
    for rows in [vec![0], vec![last], vec![0, last]] {
        let mut grads = Grads::new(&model.params);
        let loss = total(&model, &batch(&model, &data, &rows), Some(&mut grads));
        assert!(loss.is_finite(), "{}: {loss} for {rows:?}", entry.name);
        let finite = |id| grads.get(id).iter().all(|g| g.is_finite());
        assert!(model.params.ids().all(finite), "{}: gradients for {rows:?}", entry.name);
    }
    // One condition is enough for surgery.
    let (grafted, _) = graft(&model, "q", "second");
    assert_eq!(grafted.header.conditions, ["only", "second"]);
}

/// The model knows the settings that it says are the published ones.
///
/// # Panics
/// Where it does not hold.
pub fn the_published_settings_are_settings(entry: &ModelEntry) {
    let data = reference_data(entry, &["a", "b"]);
    let mut settings = (entry.small)();
    let published = (entry.published_settings)();
    settings.as_object_mut().unwrap().extend(published.as_object().unwrap().clone());
    let mut model = model_of(entry, &settings, &data);
    train(&mut model, &data, 2);
    let told = model.network.config();
    for (name, value) in published.as_object().unwrap() {
        assert_eq!(told.get(name), Some(value), "{}: {name}", entry.name);
    }
}

/// A condition that the reference knows cannot be grafted on.
///
/// # Panics
/// Where it does not hold.
pub fn known_conditions_are_refused(entry: &ModelEntry) {
    let model = model(entry, &reference_data(entry, &["a", "b"]));
    let error = model.surgery(&Surgery::adaptor("q"), &Newcomers::of(["a"]), 1).unwrap_err().to_string();
    assert!(error.contains("`a` is known"), "{error}");
}
