//! Pickles, read as values and never run.
//!
//! A pickle is a program for a small machine that can call any Python function. [`machine`] runs the part of it that
//! builds values and writes calls down as [`Object`]s: nothing is called, imported or looked up. What a few names mean
//! (ordered dictionaries, PyTorch's tensors, NumPy's arrays) is said by those who read the values.
//!
//! Values lie in one list and refer to each other by number, so that a value that holds itself costs no more than
//! another. What readers may look at is bounded by a budget: a pickle of a few bytes can hold a list of lists of lists
//! that has more entries than there are atoms.

mod machine;
pub(crate) mod write;

use std::cell::Cell;

use crate::HubError;

/// The number of a value.
pub(crate) type Id = u32;

/// A value.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer that does not fit.
    Large,
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Bytes that were written as text.
    Encoded(Box<[u8]>),
    List(Vec<Id>),
    Tuple(Box<[Id]>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A Python name.
    Global(&'a str, &'a str),
    /// What a call of a Python name would have made.
    Object(Box<Object>),
    /// Something outside the pickle, by its key.
    Persistent(Id),
}

/// A call that was not made.
#[derive(Debug)]
pub(crate) struct Object {
    /// What would have been called.
    pub callee: Id,
    /// With what.
    pub arguments: Id,
    /// What it would have been filled with.
    pub state: Option<Id>,
}

/// What a pickle holds.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    nodes: Vec<Node<'a>>,
    root: Id,
    /// Where the pickle ends.
    pub(crate) end: usize,
    place: String,
    /// Values that readers may still look at.
    budget: Cell<u64>,
}

/// Values that readers may look at, for each that there is, and besides.
const BUDGET_EACH: u64 = 16;
const BUDGET: u64 = 1 << 20;

impl<'a> Pickle<'a> {
    /// Reads a pickle from the start of some bytes; `place` names them in errors.
    pub(crate) fn new(bytes: &'a [u8], place: &str) -> Result<Pickle<'a>, HubError> {
        let (nodes, root, end) = machine::run(bytes).map_err(|e| {
            HubError::format(place, format!("not a readable pickle, at byte {} of {}: {}", e.at, bytes.len(), e.what))
        })?;
        let budget = Cell::new(BUDGET + BUDGET_EACH * nodes.len() as u64);
        Ok(Pickle { nodes, root, end, place: place.to_owned(), budget })
    }

    /// The outermost value.
    pub(crate) fn root(&self) -> Value<'_, 'a> {
        self.value(self.root)
    }

    /// The keys of what lies outside.
    pub(crate) fn references(&self) -> impl Iterator<Item = Value<'_, 'a>> {
        self.nodes.iter().filter_map(|n| if let Node::Persistent(key) = n { Some(self.value(*key)) } else { None })
    }

    fn value(&self, id: Id) -> Value<'_, 'a> {
        Value { pickle: self, id }
    }

    /// Takes so many values from the budget.
    fn spend(&self, n: usize) -> Result<(), HubError> {
        match self.budget.get().checked_sub(n as u64) {
            Some(left) => {
                self.budget.set(left);
                Ok(())
            }
            None => Err(HubError::format(&self.place, "it refers to its own values more often than any model would")),
        }
    }
}

/// A value of a pickle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'p, 'a> {
    pickle: &'p Pickle<'a>,
    id: Id,
}

impl<'p, 'a> Value<'p, 'a> {
    /// What it is.
    pub(crate) fn node(self) -> &'p Node<'a> {
        // Numbers come from the machine, which hands out those of values there are.
        self.pickle.nodes.get(self.id as usize).unwrap_or(&Node::None)
    }

    /// Which pickle it is of, for errors.
    pub(crate) fn place(self) -> &'p str {
        &self.pickle.place
    }

    /// What it is, in words, for errors.
    pub(crate) fn kind(self) -> String {
        match self.node() {
            Node::None => "nothing".into(),
            Node::Bool(_) => "a truth value".into(),
            Node::Int(_) | Node::Large => "an integer".into(),
            Node::Float(_) => "a number".into(),
            Node::Text(_) => "text".into(),
            Node::Bytes(_) | Node::Encoded(_) => "bytes".into(),
            Node::List(v) => format!("a list of {}", v.len()),
            Node::Tuple(v) => format!("a tuple of {}", v.len()),
            Node::Set(v) => format!("a set of {}", v.len()),
            Node::Dict(v) => format!("a dictionary of {}", v.len()),
            Node::Global(module, name) => format!("the Python name {}", shown(&format!("{module}.{name}"))),
            Node::Object(o) => match self.pickle.value(o.callee).node() {
                Node::Global(module, name) => format!("an object of {}", shown(&format!("{module}.{name}"))),
                _ => "an object".into(),
            },
            Node::Persistent(_) => "a reference".into(),
        }
    }

    /// The entry of a dictionary; the last of that name.
    pub(crate) fn get(self, key: &str) -> Option<Value<'p, 'a>> {
        let Node::Dict(entries) = self.node() else { return None };
        let named = |(k, _): &&(Id, Id)| self.pickle.value(*k).text() == Some(key);
        entries.iter().rev().find(named).map(|e| self.pickle.value(e.1))
    }

    /// The entry of nested dictionaries, one key after the other.
    pub(crate) fn path(self, keys: &[&str]) -> Option<Value<'p, 'a>> {
        keys.iter().try_fold(self, |v, key| v.get(key))
    }

    /// The entries of a dictionary.
    pub(crate) fn entries(self) -> Result<Vec<(Value<'p, 'a>, Value<'p, 'a>)>, HubError> {
        let Node::Dict(entries) = self.node() else { return Err(self.expected("a dictionary")) };
        self.pickle.spend(entries.len())?;
        Ok(entries.iter().map(|e| (self.pickle.value(e.0), self.pickle.value(e.1))).collect())
    }

    /// The items of a list, tuple or set.
    pub(crate) fn items(self) -> Result<Vec<Value<'p, 'a>>, HubError> {
        let ids: &[Id] = match self.node() {
            Node::List(v) | Node::Set(v) => v,
            Node::Tuple(v) => v,
            _ => return Err(self.expected("a list")),
        };
        self.pickle.spend(ids.len())?;
        Ok(ids.iter().map(|&id| self.pickle.value(id)).collect())
    }

    /// An item of a list or tuple.
    pub(crate) fn item(self, at: usize) -> Option<Value<'p, 'a>> {
        match self.node() {
            Node::List(v) => v.get(at),
            Node::Tuple(v) => v.get(at),
            _ => None,
        }
        .map(|&id| self.pickle.value(id))
    }

    pub(crate) fn text(self) -> Option<&'a str> {
        if let Node::Text(text) = self.node() { Some(text) } else { None }
    }

    pub(crate) fn bytes(self) -> Option<&'p [u8]> {
        match self.node() {
            Node::Bytes(bytes) => Some(bytes),
            Node::Encoded(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn int(self) -> Option<i64> {
        if let Node::Int(v) = self.node() { Some(*v) } else { None }
    }

    /// A length, size or place: an integer of at least 0.
    pub(crate) fn size(self) -> Option<usize> {
        self.int().and_then(|v| usize::try_from(v).ok())
    }

    pub(crate) fn truth(self) -> Option<bool> {
        if let Node::Bool(v) = self.node() { Some(*v) } else { None }
    }

    /// A Python name: module and name.
    pub(crate) fn global(self) -> Option<(&'a str, &'a str)> {
        if let Node::Global(module, name) = self.node() { Some((module, name)) } else { None }
    }

    /// The key of something outside the pickle.
    pub(crate) fn persistent(self) -> Option<Value<'p, 'a>> {
        if let Node::Persistent(key) = self.node() { Some(self.pickle.value(*key)) } else { None }
    }

    /// What would have been called, with what, and what it would have been filled with.
    pub(crate) fn call(self) -> Option<Call<'p, 'a>> {
        let Node::Object(o) = self.node() else { return None };
        let (module, name) = self.pickle.value(o.callee).global()?;
        let state = o.state.map(|id| self.pickle.value(id));
        Some(Call { module, name, arguments: self.pickle.value(o.arguments), state })
    }

    /// An error at this value.
    pub(crate) fn expected(self, what: &str) -> HubError {
        HubError::format(self.place(), format!("expected {what}, found {}", self.kind()))
    }
}

/// A call that was not made, as its readers see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'p, 'a> {
    pub module: &'a str,
    pub name: &'a str,
    pub arguments: Value<'p, 'a>,
    pub state: Option<Value<'p, 'a>>,
}

/// A name as it is shown: not longer than a line, nothing that moves a cursor.
pub(crate) fn shown(name: &str) -> String {
    let clean: String = name.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("`{clean}`")
}
