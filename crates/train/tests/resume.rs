//! A fit that was stopped and goes on from its checkpoint ends in the bits of one that was not.

use std::ops::ControlFlow;

use scgraft_cells::{ConditionSource, Known, PrepareOptions, Prepared, SimulateOptions, simulate};
use scgraft_models::{EpochRecord, Granularity, Header, Membership, Model, NewPrograms, Program, Segment, Surgery};
use scgraft_train::{Progress, Quiet, TrainConfig, TrainError, fit, graft};
use serde_json::json;

/// Stops after an epoch and keeps what was saved then.
struct Stopped {
    after: usize,
    from: Option<Vec<u8>>,
    kept: Option<Vec<u8>>,
}

impl Stopped {
    fn after(after: usize) -> Self {
        Stopped { after, from: None, kept: None }
    }

    fn from(checkpoint: Vec<u8>) -> Self {
        Stopped { after: usize::MAX, from: Some(checkpoint), kept: None }
    }
}

impl Progress for Stopped {
    fn epoch(&mut self, record: &EpochRecord) -> ControlFlow<()> {
        if record.epoch == self.after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn resume(&mut self) -> Option<Vec<u8>> {
        self.from.take()
    }

    fn keeps_checkpoints(&self) -> bool {
        true
    }

    fn wants_checkpoint(&mut self) -> bool {
        true
    }

    fn save(&mut self, checkpoint: &[u8]) -> Result<(), String> {
        self.kept = Some(checkpoint.to_vec());
        Ok(())
    }
}

fn data() -> (Prepared, scgraft_cells::Cells) {
    let sizes = SimulateOptions {
        n_reference: 240,
        n_query: 120,
        n_genes: 300,
        n_programs: 14,
        genes_per_program: 12,
        n_cell_types: 3,
        ..SimulateOptions::default()
    };
    let simulated = simulate(&sizes).unwrap();
    (Prepared::reference(&simulated.reference, None, &options()).unwrap(), simulated.query)
}

fn options() -> PrepareOptions {
    PrepareOptions {
        condition: ConditionSource::Columns(vec!["batch".into()]),
        label: Some("cell_type".into()),
        ..PrepareOptions::default()
    }
}

fn model(name: &str, data: &Prepared) -> Model {
    let program = |p: u32| Program { name: format!("p{p}"), members: (p * 12..(p + 1) * 12).collect() };
    let programs = Segment { origin: None, membership: Membership::Soft, programs: (0..6).map(program).collect() };
    let header = Header {
        known: Known {
            genes: data.genes.clone(),
            conditions: data.condition.levels.clone(),
            labels: if name == "scanvi" { data.known().labels } else { Vec::new() },
            ..Known::default()
        },
        segments: if name == "expimap" { vec![programs] } else { Vec::new() },
        ..Header::default()
    };
    Model::new(name, &json!({ "hidden": [16] }), header, 1).unwrap()
}

fn config(name: &str, data: &Prepared) -> TrainConfig {
    let entry = scgraft_models::find(name).unwrap();
    TrainConfig { epochs: 9, batch_size: 32, ..TrainConfig::of(&entry.training, data.n_cells()) }
}

#[test]
fn every_kind_of_model_goes_on_to_the_same_bits() {
    let (mut with_labels, _) = data();
    for name in ["expimap", "scvi", "scanvi", "trvae"] {
        let data = &mut with_labels;
        let config = config(name, data);
        let mut whole = model(name, data);
        fit(&mut whole, data, &config, &mut Quiet).unwrap();
        let mut watch = Stopped::after(3);
        let mut broken = model(name, data);
        let stopped = fit(&mut broken, data, &config, &mut watch);
        assert!(matches!(stopped, Err(TrainError::Stopped { epoch: 3 })), "{stopped:?}");
        // Stopped once more on the way.
        let mut again = Stopped { after: 6, ..Stopped::from(watch.kept.unwrap()) };
        fit(&mut model(name, data), data, &config, &mut again).unwrap_err();
        let mut last = model(name, data);
        let report = fit(&mut last, data, &config, &mut Stopped::from(again.kept.unwrap())).unwrap();
        assert_eq!(last.to_bytes().unwrap(), whole.to_bytes().unwrap(), "{name}");
        assert_eq!(report.epochs, 9);
    }
}

#[test]
fn a_graft_goes_on_to_the_same_bits() {
    let (data, query) = data();
    let mut reference = model("expimap", &data);
    fit(&mut reference, &data, &config("expimap", &data), &mut Quiet).unwrap();
    let asked = Prepared::query(&query, &reference.header.known, &PrepareOptions { label: None, ..options() }).unwrap();
    let programs = Some(NewPrograms { constrained: Vec::new(), soft: false, n_free: 2 });
    let surgery = Surgery { programs, granularity: Granularity::Adaptor, ..Surgery::adaptor("q") };
    let entry = scgraft_models::find("expimap").unwrap();
    let own = TrainConfig { epochs: 8, batch_size: 32, ..TrainConfig::of(&entry.mapping, asked.n_cells()) };
    let whole = graft(&reference, &asked, surgery.clone(), &own, &mut Quiet).unwrap();
    let mut watch = Stopped::after(4);
    graft(&reference, &asked, surgery.clone(), &own, &mut watch).unwrap_err();
    let kept = watch.kept.unwrap();
    let went_on = graft(&reference, &asked, surgery.clone(), &own, &mut Stopped::from(kept.clone())).unwrap();
    assert_eq!(went_on.model.to_bytes().unwrap(), whole.model.to_bytes().unwrap());
    assert_eq!(went_on.adaptor.unwrap().to_bytes().unwrap(), whole.adaptor.unwrap().to_bytes().unwrap());

    // What it was not made with is refused, and so is what was changed.
    let says = |result: Result<_, TrainError>, word: &str| {
        let error = result.map(|_: scgraft_train::Grafted| ()).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    let other = TrainConfig { learning_rate: 0.05, ..own.clone() };
    says(graft(&reference, &asked, surgery.clone(), &other, &mut Stopped::from(kept.clone())), "other settings");
    for at in (0..kept.len()).step_by(kept.len() / 40) {
        let mut changed = kept.clone();
        changed[at] ^= 4;
        graft(&reference, &asked, surgery.clone(), &own, &mut Stopped::from(changed)).unwrap_err();
        graft(&reference, &asked, surgery.clone(), &own, &mut Stopped::from(kept[..at].to_vec())).unwrap_err();
    }
}

/// Stops between the steps of an epoch; everything is held.
struct Within {
    steps: usize,
    kept: Vec<u8>,
}

impl Progress for Within {
    fn epoch(&mut self, _: &EpochRecord) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn step(&mut self) -> ControlFlow<()> {
        self.steps -= 1;
        if self.steps == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn holds_start(&mut self) -> bool {
        true
    }

    fn keeps_checkpoints(&self) -> bool {
        true
    }

    fn wants_checkpoint(&mut self) -> bool {
        self.steps == 0
    }

    fn save(&mut self, checkpoint: &[u8]) -> Result<(), String> {
        self.kept = checkpoint.to_vec();
        Ok(())
    }
}

#[test]
fn a_stop_within_an_epoch_goes_on_from_its_start() {
    let (data, _) = data();
    let config = TrainConfig { epochs: 4, batch_size: 32, ..TrainConfig::default() };
    let mut whole = model("expimap", &data);
    fit(&mut whole, &data, &config, &mut Quiet).unwrap();
    let mut stopped = model("expimap", &data);
    // Seven or eight batches an epoch with the validation's: in the third.
    let mut within = Within { steps: 20, kept: Vec::new() };
    let error = fit(&mut stopped, &data, &config, &mut within).unwrap_err();
    assert!(matches!(error, TrainError::Stopped { epoch: 2 }), "{error}");
    let mut resumed = model("expimap", &data);
    fit(&mut resumed, &data, &config, &mut Stopped::from(within.kept)).unwrap();
    assert_eq!(resumed.to_bytes().unwrap(), whole.to_bytes().unwrap());
}
