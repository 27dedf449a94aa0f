//! What a `Cells` holds, as the JSON of the fixtures.

use std::collections::BTreeMap;
use std::path::PathBuf;

use scgraft_cells::{Array, Cells, Column, Csr, Dense, Frame, Matrix, Uns};
use serde_json::{Map, Value, json};

pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The content the fixture's JSON says.
pub fn expected(name: &str) -> Value {
    let text = std::fs::read_to_string(fixture(&format!("{name}.json"))).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    file["content"].take()
}

pub fn content(cells: &Cells) -> Value {
    let map = |m: &BTreeMap<String, Array>| m.iter().map(|(k, a)| (k.clone(), array(a))).collect::<Map<_, _>>();
    let squares =
        |m: &BTreeMap<String, Csr>| m.iter().map(|(k, m)| (k.clone(), rows(&m.to_dense()))).collect::<Map<_, _>>();
    json!({
        "X": cells.x.as_ref().map(matrix),
        "obs": frame(&cells.obs),
        "var": frame(&cells.var),
        "layers": cells.layers.iter().map(|(k, m)| (k.clone(), matrix(m))).collect::<Map<_, _>>(),
        "obsm": map(&cells.obsm),
        "varm": map(&cells.varm),
        "obsp": squares(&cells.obsp),
        "varp": squares(&cells.varp),
        "uns": cells.uns.iter().map(|(k, v)| (k.clone(), uns(v))).collect::<Map<_, _>>(),
        "raw": cells.raw.as_ref().map(|raw| json!({
            "X": matrix(&raw.x), "var": frame(&raw.var), "varm": map(&raw.varm),
        })),
    })
}

fn rows(m: &Dense) -> Value {
    (0..m.n_rows).map(|i| json!(m.row(i))).collect()
}

fn matrix(m: &Matrix) -> Value {
    match m {
        Matrix::Sparse(m) => json!({"sparse": rows(&m.to_dense())}),
        Matrix::Dense(m) => json!({"dense": rows(m)}),
    }
}

fn array(a: &Array) -> Value {
    match a {
        Array::Dense(m) => json!({"dense": rows(m)}),
        Array::Sparse(m) => json!({"sparse": rows(&m.to_dense())}),
        Array::Frame(f) => json!({"frame": frame(f)}),
    }
}

fn frame(f: &Frame) -> Value {
    let columns: Vec<Value> = f.columns.iter().map(|(name, c)| json!([name, column(c)])).collect();
    json!({"index": f.index, "index_name": f.index_name, "columns": columns})
}

fn column(c: &Column) -> Value {
    match c {
        Column::Text(v) => json!({"kind": "text", "values": v}),
        Column::Categorical { codes, categories, ordered } => {
            json!({"kind": "categorical", "codes": codes, "categories": categories, "ordered": ordered})
        }
        Column::Real(v) => {
            json!({"kind": "real", "values": v.iter().map(|v| (!v.is_nan()).then_some(*v)).collect::<Vec<_>>()})
        }
        Column::Integer(v) => json!({"kind": "integer", "values": v}),
        Column::Boolean(v) => json!({"kind": "boolean", "values": v}),
    }
}

fn uns(v: &Uns) -> Value {
    match v {
        Uns::Null => Value::Null,
        Uns::Bool(v) => json!({"bool": v}),
        Uns::Int(v) => json!({"int": v}),
        Uns::Float(v) => json!({"float": v}),
        Uns::Text(v) => json!({"text": v}),
        Uns::Texts(v) => json!({"texts": v}),
        Uns::Ints(shape, v) => json!({"ints": v, "shape": shape}),
        Uns::Floats(shape, v) => json!({"floats": v, "shape": shape}),
        Uns::Bools(shape, v) => json!({"bools": v, "shape": shape}),
        Uns::Frame(f) => json!({"frame": frame(f)}),
        Uns::Sparse(m) => json!({"sparse": rows(&m.to_dense())}),
        Uns::Column(c) => json!({"column": column(c)}),
        Uns::Records(fields) => {
            json!({"records": fields.iter().map(|(n, c)| json!([n, column(c)])).collect::<Vec<_>>()})
        }
        Uns::Map(m) => json!({"map": m.iter().map(|(k, v)| (k.clone(), uns(v))).collect::<Map<_, _>>()}),
    }
}
