//! Pickles, written: protocol 3, every value as often as it stands there.

use serde_json::Value as Json;

/// A value to be written.
#[derive(Clone, Debug)]
pub(crate) enum Py {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Py>),
    Tuple(Vec<Py>),
    Dict(Vec<(Py, Py)>),
    /// A Python name: module and name.
    Global(&'static str, &'static str),
    /// What a call of a Python name makes, and what it is filled with.
    Call(&'static str, &'static str, Vec<Py>, Option<Box<Py>>),
    /// Something outside the pickle, by its key.
    Persistent(Box<Py>),
}

impl From<&str> for Py {
    fn from(text: &str) -> Py {
        Py::Text(text.to_owned())
    }
}

impl From<usize> for Py {
    fn from(n: usize) -> Py {
        Py::Int(n as i64)
    }
}

impl From<&Json> for Py {
    fn from(value: &Json) -> Py {
        match value {
            Json::Null => Py::None,
            Json::Bool(v) => Py::Bool(*v),
            Json::Number(v) => v.as_i64().map_or_else(|| Py::Float(v.as_f64().unwrap_or(f64::NAN)), Py::Int),
            Json::String(v) => Py::Text(v.clone()),
            Json::Array(v) => Py::List(v.iter().map(Py::from).collect()),
            Json::Object(v) => Py::Dict(v.iter().map(|(k, v)| (Py::Text(k.clone()), Py::from(v))).collect()),
        }
    }
}

/// A dictionary with names as keys.
pub(crate) fn dict(entries: impl IntoIterator<Item = (impl Into<String>, Py)>) -> Py {
    Py::Dict(entries.into_iter().map(|(k, v)| (Py::Text(k.into()), v)).collect())
}

impl Py {
    /// As a pickle.
    pub(crate) fn pickled(&self) -> Vec<u8> {
        let mut out = vec![0x80, 3];
        self.write(&mut out);
        out.push(b'.');
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Py::None => out.push(b'N'),
            Py::Bool(v) => out.push(if *v { 0x88 } else { 0x89 }),
            Py::Int(v) => match (u8::try_from(*v), i32::try_from(*v)) {
                (Ok(v), _) => out.extend([b'K', v]),
                (_, Ok(v)) => out.extend([&b"J"[..], &v.to_le_bytes()].concat()),
                _ => out.extend([&[0x8a, 8][..], &v.to_le_bytes()].concat()),
            },
            Py::Float(v) => out.extend([&b"G"[..], &v.to_be_bytes()].concat()),
            Py::Text(text) => {
                out.extend([&b"X"[..], &(text.len() as u32).to_le_bytes()].concat());
                out.extend(text.as_bytes());
            }
            Py::Bytes(bytes) => {
                out.extend([&b"B"[..], &(bytes.len() as u32).to_le_bytes()].concat());
                out.extend(bytes);
            }
            Py::List(items) => {
                out.extend(b"](");
                items.iter().for_each(|item| item.write(out));
                out.push(b'e');
            }
            Py::Tuple(items) => tuple(items, out),
            Py::Dict(entries) => {
                out.extend(b"}(");
                for (key, value) in entries {
                    key.write(out);
                    value.write(out);
                }
                out.push(b'u');
            }
            Py::Global(module, name) => out.extend(format!("c{module}\n{name}\n").as_bytes()),
            Py::Call(module, name, arguments, state) => {
                Py::Global(module, name).write(out);
                tuple(arguments, out);
                out.push(b'R');
                if let Some(state) = state {
                    state.write(out);
                    out.push(b'b');
                }
            }
            Py::Persistent(key) => {
                key.write(out);
                out.push(b'Q');
            }
        }
    }
}

fn tuple(items: &[Py], out: &mut Vec<u8>) {
    out.push(b'(');
    items.iter().for_each(|item| item.write(out));
    out.push(b't');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pickle::Pickle;

    #[test]
    fn what_is_written_is_read() {
        let ints = [0, 255, 256, -1, i64::from(i32::MAX) + 1, i64::MIN];
        let value = dict([
            ("ints", Py::List(ints.iter().map(|&v| Py::Int(v)).collect())),
            ("pair", Py::Tuple(vec![Py::None, Py::Bool(true)])),
            ("bytes", Py::Bytes(b"\x00\xff".to_vec())),
            ("made", Py::Call("a.b", "C", vec![Py::Float(-0.5)], Some(Box::new(Py::from("é"))))),
            ("store", Py::Persistent(Box::new(Py::Global("torch", "FloatStorage")))),
            ("json", Py::from(&serde_json::json!({ "x": [1, 0.5, null, false, "y"] }))),
        ]);
        let bytes = value.pickled();
        let pickle = Pickle::new(&bytes, "f").unwrap();
        assert_eq!(pickle.end, bytes.len());
        let root = pickle.root();
        let found: Vec<i64> = root.get("ints").unwrap().items().unwrap().iter().map(|v| v.int().unwrap()).collect();
        assert_eq!(found, ints);
        assert_eq!(root.get("pair").unwrap().item(1).unwrap().truth(), Some(true));
        assert_eq!(root.get("bytes").unwrap().bytes(), Some(&b"\x00\xff"[..]));
        let call = root.get("made").unwrap().call().unwrap();
        assert_eq!((call.module, call.name, call.state.unwrap().text()), ("a.b", "C", Some("é")));
        assert_eq!(root.get("store").unwrap().persistent().unwrap().global(), Some(("torch", "FloatStorage")));
        assert_eq!(root.path(&["json", "x"]).unwrap().items().unwrap().len(), 5);
    }
}
