//! What a fit promises: it starts near, keeps its best state, says whether it arrived, and grafts large queries on a sample.

use scgraft_cells::{Cells, ConditionSource, Known, PrepareOptions, Prepared, SimulateOptions, simulate};
use scgraft_models::{Header, Membership, Model, Program, Segment, Surgery};
use scgraft_train::{Anneal, EarlyStopping, FitReport, Quiet, Schedule, TrainConfig, TrainError, fit, graft};
use serde_json::json;

/// A reference and a query of two new batches.
fn cells() -> (Cells, Cells) {
    let options = SimulateOptions {
        n_reference: 300,
        n_query: 240,
        n_genes: 300,
        n_programs: 14,
        genes_per_program: 12,
        n_cell_types: 3,
        ..SimulateOptions::default()
    };
    let simulated = simulate(&options).unwrap();
    (simulated.reference, simulated.query)
}

fn options() -> PrepareOptions {
    PrepareOptions { condition: ConditionSource::Columns(vec!["batch".into()]), ..PrepareOptions::default() }
}

fn model(data: &Prepared) -> Model {
    let program = |p: u32| Program { name: format!("p{p}"), members: (p * 12..(p + 1) * 12).collect() };
    let header = Header {
        known: Known { genes: data.genes.clone(), conditions: data.condition.levels.clone(), ..Known::default() },
        segments: vec![Segment { origin: None, membership: Membership::Hard, programs: (0..6).map(program).collect() }],
        ..Header::default()
    };
    Model::new("expimap", &json!({ "hidden": [16] }), header, 1).unwrap()
}

fn run(model: &mut Model, data: &Prepared, config: &TrainConfig) -> FitReport {
    fit(model, data, config, &mut Quiet).unwrap()
}

/// By the model's own defaults, but of so many epochs.
/// expiMap's, judged by a tenth of the cells, few as they are.
fn config(data: &Prepared, epochs: usize) -> TrainConfig {
    let expimap = scgraft_models::find("expimap").unwrap();
    let judged = Some(EarlyStopping::TO_THE_END);
    TrainConfig { epochs, early_stopping: judged, ..TrainConfig::of(&expimap.training, data.n_cells()) }
}

#[test]
fn few_cells_all_train() {
    let training = scgraft_models::find("expimap").unwrap().training;
    let judged = |n_cells| TrainConfig::of(&training, n_cells).early_stopping.is_some();
    assert_eq!([judged(200), judged(990), judged(1_000), judged(9_000)], [false, false, true, true]);
}

fn validation(model: &Model) -> Vec<f64> {
    model.history.iter().filter_map(|r| r.validation_loss).collect()
}

#[test]
fn a_start_read_off_the_data_is_nearer_than_a_random_one() {
    let (reference, query) = cells();
    let data = Prepared::reference(&reference, None, &options()).unwrap();
    let first = |start_from_data: bool| {
        let mut model = model(&data);
        run(&mut model, &data, &TrainConfig { start_from_data, ..config(&data, 1) });
        (validation(&model)[0], model)
    };
    let ((near, mut trained), (far, _)) = (first(true), first(false));
    assert!(near < 0.9 * far, "{near} {far}");

    // The same of a graft: new rows start as known ones, offsets in closed form.
    run(&mut trained, &data, &config(&data, 40));
    let asked = Prepared::query(&query, &trained.header.known, &options()).unwrap();
    let mapping = TrainConfig::of(&trained.entry.mapping, asked.n_cells());
    let mapped = |start_from_data: bool| {
        let config = TrainConfig { epochs: 1, start_from_data, ..mapping.clone() };
        let grafted = graft(&trained, &asked, Surgery::adaptor("q"), &config, &mut Quiet);
        validation(&grafted.unwrap().model)[0]
    };
    assert!(mapped(true) < mapped(false), "{} {}", mapped(true), mapped(false));
}

#[test]
fn scores_start_as_the_mean_expression_of_their_genes() {
    let (reference, _) = cells();
    let data = Prepared::reference(&reference, None, &options()).unwrap();
    // Independently: log counts a library, each gene with deviation 1.
    let counts = data.expression.whole().unwrap().to_dense();
    let (n, genes) = (data.n_cells(), data.n_genes());
    let standard = |values: Vec<f64>| {
        let mean = values.iter().sum::<f64>() / n as f64;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64).sqrt().max(1e-9);
        values.into_iter().map(|v| (v - mean) / deviation).collect::<Vec<f64>>()
    };
    let log = |i: usize, g: usize| f64::from(1000.0 * counts.row(i)[g] / data.library[i]).ln_1p();
    let expression: Vec<Vec<f64>> = (0..genes).map(|g| standard((0..n).map(|i| log(i, g)).collect())).collect();
    let score = |k: usize| standard((0..n).map(|i| (k * 12..(k + 1) * 12).map(|g| expression[g][i]).sum()).collect());
    let agreement = |model: &Model| {
        let means = model.latent(&data).unwrap().0;
        let with = |k: usize| {
            let latent = standard((0..n).map(|i| f64::from(means.row(i)[k])).collect());
            latent.iter().zip(score(k)).map(|(a, b)| a * b).sum::<f64>() / n as f64
        };
        (0..6).map(with).sum::<f64>() / 6.0
    };
    let mut model = model(&data);
    let drawn = agreement(&model);
    model.start_from_data(&data).unwrap();
    let started = agreement(&model);
    assert!(started > 0.3 && drawn.abs() < 0.15, "correlation {started}, as drawn {drawn}");
}

#[test]
fn the_best_state_is_the_one_that_stays() {
    let (reference, _) = cells();
    let data = Prepared::reference(&reference, None, &options()).unwrap();
    let mut model = model(&data);
    // A rate that never settles: the last epoch is not the best.
    let wild = TrainConfig {
        learning_rate: 0.3,
        schedule: Schedule::Constant,
        thinning: None,
        anneal: Anneal::Epochs(0),
        start_from_data: false,
        ..config(&data, 60)
    };
    let report = run(&mut model, &data, &wild);
    let losses = validation(&model);
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(losses[report.best_epoch - 1], best);
    assert_eq!(report.best_loss, Some(best));
    assert!(losses[59] > best, "{losses:?}");
    // One more epoch that changes nothing judges the state that stayed.
    let still = TrainConfig { epochs: 1, learning_rate: 1e-30, ..wild.clone() };
    run(&mut model, &data, &still);
    assert!((validation(&model)[0] - best).abs() < 1e-6 * best, "{} {best}", validation(&model)[0]);
    // What was read off the data is a state like any other: here no epoch finds a better one.
    let report = run(&mut model, &data, &TrainConfig { start_from_data: true, learning_rate: 3.0, ..wild.clone() });
    assert_eq!(report.best_epoch, 0);
    let start = report.best_loss.unwrap();
    assert!(validation(&model).iter().all(|&loss| loss > start), "{start} {:?}", validation(&model));
    run(&mut model, &data, &still);
    assert!((validation(&model)[0] - start).abs() < 1e-6 * start, "{} {start}", validation(&model)[0]);
}

#[test]
fn no_state_is_judged_before_the_weights_have_risen() {
    let (reference, _) = cells();
    let data = Prepared::reference(&reference, None, &options()).unwrap();
    for (share, most, from) in [(0.9, 100, 36), (0.9, 10, 10)] {
        let mut model = model(&data);
        let report =
            run(&mut model, &data, &TrainConfig { anneal: Anneal::Share { share, most }, ..config(&data, 40) });
        assert!(report.best_epoch > from, "{report:?}");
    }
}

#[test]
fn a_run_says_whether_it_had_arrived() {
    let (reference, _) = cells();
    let data = Prepared::reference(&reference, None, &options()).unwrap();
    let told = |epochs: usize, learning_rate: f32| {
        let mut model = model(&data);
        let slow = TrainConfig {
            learning_rate,
            schedule: Schedule::Constant,
            start_from_data: false,
            ..config(&data, epochs)
        };
        run(&mut model, &data, &slow)
    };
    let short = told(10, 1e-3);
    assert!(short.arrived() == Some(false) && short.last_gain.unwrap() > 1e-3, "{short:?}");
    assert_eq!(told(3, 1e-3).last_gain, None);
    let mut model = model(&data);
    assert!(run(&mut model, &data, &config(&data, 300)).arrived() == Some(true));
    // Where no cell judges, what trains fits better to the end, and tells nothing.
    let alone = run(&mut model, &data, &TrainConfig { early_stopping: None, ..config(&data, 300) });
    assert_eq!((alone.last_gain, alone.arrived()), (None, None));
    // Steps that die down end flat, however few there were.
    let few = TrainConfig { learning_rate: 1e-6, ..config(&data, 10) };
    let few = run(&mut model, &data, &few);
    assert!(few.last_gain.unwrap() < 1e-3 && few.short_of == Some(400) && few.arrived() == Some(false), "{few:?}");
    let patient = TrainConfig {
        early_stopping: Some(EarlyStopping { patience: 3, lr_patience: 0, lr_factor: 1.0 }),
        learning_rate: 0.3,
        schedule: Schedule::Constant,
        start_from_data: false,
        ..config(&data, 300)
    };
    let stopped = run(&mut model, &data, &patient);
    assert!(stopped.stopped_early && stopped.arrived() == Some(true) && stopped.epochs < 300, "{stopped:?}");
}

#[test]
fn a_large_query_is_fitted_on_a_sample_and_leaves_the_reference_as_it_was() {
    let (reference, query) = cells();
    let data = Prepared::reference(&reference, None, &options()).unwrap();
    let mut trained = model(&data);
    run(&mut trained, &data, &config(&data, 20));
    let asked = Prepared::query(&query, &trained.header.known, &options()).unwrap();
    let config = TrainConfig { most_cells: Some(30), ..TrainConfig::of(&trained.entry.mapping, asked.n_cells()) };
    let go = |config: &TrainConfig| graft(&trained, &asked, Surgery::adaptor("q"), config, &mut Quiet).unwrap();
    let grafted = go(&config);
    let n_new = asked.condition.levels.len() - asked.n_known_conditions;
    assert_eq!(grafted.report.as_ref().unwrap().n_cells, 30 * n_new);
    assert_eq!(grafted.model.reference_hash(), trained.reference_hash());
    assert_eq!(go(&config).adaptor, grafted.adaptor);
    assert_eq!(go(&TrainConfig { most_cells: None, ..config }).report.unwrap().n_cells, asked.n_cells());
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let (reference, _) = cells();
    let data = Prepared::reference(&reference, None, &options()).unwrap();
    let refused = |config: TrainConfig| {
        let found = fit(&mut model(&data), &data, &config, &mut Quiet);
        matches!(found, Err(TrainError::Config { .. }))
    };
    assert!(refused(TrainConfig { thinning: Some(0.0), ..config(&data, 1) }));
    assert!(refused(TrainConfig { prior_sd: Some(f32::NAN), ..config(&data, 1) }));
    assert!(refused(TrainConfig { learning_rate: -1.0, ..config(&data, 1) }));
}
