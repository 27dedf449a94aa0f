//! The machine that a pickle is a program for, without its calls.
//!
//! Every operation takes at least one byte and makes at most one value, so what is made is bounded by the size of the
//! pickle. Texts and bytes are slices of it.

use std::collections::HashMap;

use super::{Id, Node, Object};

/// Most values of a pickle; models have some ten thousand.
const MOST_VALUES: usize = 4 << 20;
/// Values that are made once: nothing, truth values, and small integers, of which lists of 0 and 1 consist.
const NONE: Id = 0;
const FALSE: Id = 1;
const TRUE: Id = 2;
const SMALL: Id = 3;
const SMALL_COUNT: Id = 256;

/// What went wrong, and where.
#[derive(Debug)]
pub(super) struct Broken {
    pub at: usize,
    pub what: String,
}

type Step<T> = Result<T, String>;

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at its marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Bytes that were made of text: each text once, so never more than the pickle has.
    encoded: usize,
}

/// Runs a pickle: its values, the outermost, and where it ends.
pub(super) fn run(bytes: &[u8]) -> Result<(Vec<Node<'_>>, Id, usize), Broken> {
    let mut nodes = vec![Node::None, Node::Bool(false), Node::Bool(true)];
    nodes.extend((0..i64::from(SMALL_COUNT)).map(Node::Int));
    let (stack, marks, memo) = (Vec::new(), Vec::new(), HashMap::new());
    let mut machine = Machine { bytes, at: 0, nodes, stack, marks, memo, encoded: 0 };
    loop {
        let at = machine.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => return Ok((machine.nodes, root, machine.at)),
            Err(what) => return Err(Broken { at, what }),
        }
    }
}

impl<'a> Machine<'a> {
    /// One operation; the outermost value after the last.
    fn step(&mut self) -> Step<Option<Id>> {
        match self.byte()? {
            b'.' => return self.pop().map(Some),
            0x80 => match self.byte()? {
                0..=5 => {}
                other => return Err(format!("protocol {other}; this program reads up to 5")),
            },
            0x95 => _ = self.take(8)?,
            b'(' => self.marks.push(self.stack.len()),
            b'0' => _ = self.pop()?,
            b'1' => _ = self.pop_mark()?,
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.stack.push(NONE),
            0x88 => self.stack.push(TRUE),
            0x89 => self.stack.push(FALSE),
            b'K' => {
                let v = self.byte()?;
                self.int(i64::from(v))?;
            }
            b'M' => {
                let v = self.number::<2>()?;
                self.int(v as i64)?;
            }
            b'J' => {
                let v = self.number::<4>()?;
                self.int(i64::from(v as u32 as i32))?;
            }
            0x8a => {
                let n = self.byte()?;
                self.long(usize::from(n))?;
            }
            0x8b => {
                let n = self.number::<4>()?;
                self.long(length(n)?)?;
            }
            b'G' => {
                let b = self.take(8)?;
                let v = f64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
                self.push(Node::Float(v))?;
            }
            0x8c => self.text::<1>()?,
            b'X' => self.text::<4>()?,
            0x8d => self.text::<8>()?,
            b'C' => self.blob::<1>()?,
            b'B' => self.blob::<4>()?,
            0x8e | 0x96 => self.blob::<8>()?,
            b']' => self.push(Node::List(Vec::new()))?,
            b')' => self.push(Node::Tuple(Box::default()))?,
            b'}' => self.push(Node::Dict(Vec::new()))?,
            0x8f => self.push(Node::Set(Vec::new()))?,
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Node::List(items))?;
            }
            b't' => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items.into()))?;
            }
            b'd' => {
                let pairs = pairs(&self.pop_mark()?)?;
                self.push(Node::Dict(pairs))?;
            }
            0x91 => {
                let items = self.pop_mark()?;
                self.push(Node::Set(items))?;
            }
            n @ 0x85..=0x87 => {
                let from = self.floor(usize::from(n - 0x84))?;
                let items = self.stack.split_off(from);
                self.push(Node::Tuple(items.into()))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[(key, value)])?;
            }
            b'u' => {
                let pairs = pairs(&self.pop_mark()?)?;
                self.set(&pairs)?;
            }
            b'q' => {
                let at = self.byte()?;
                self.put(u64::from(at))?;
            }
            b'r' => {
                let at = self.number::<4>()?;
                self.put(at)?;
            }
            0x94 => self.put(self.memo.len() as u64)?,
            b'h' => {
                let at = self.byte()?;
                self.recall(u64::from(at))?;
            }
            b'j' => {
                let at = self.number::<4>()?;
                self.recall(at)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Node::Global(module, name))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.nodes[module as usize], &self.nodes[name as usize]) {
                    (&Node::Text(module), &Node::Text(name)) => self.push(Node::Global(module, name))?,
                    _ => return Err("a Python name that is not text".into()),
                }
            }
            b'R' | 0x81 => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                self.call(callee, arguments)?;
            }
            0x92 => {
                // Named arguments: none of the names that mean something has them.
                let (_, arguments, callee) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callee, arguments)?;
            }
            b'b' => {
                let state = self.pop()?;
                let top = self.top()?;
                if let Node::Object(object) = &mut self.nodes[top as usize] {
                    object.state = Some(state);
                }
            }
            b'Q' => {
                let key = self.pop()?;
                self.push(Node::Persistent(key))?;
            }
            other => return Err(format!("operation 0x{other:02x}, which no model file has")),
        }
        Ok(None)
    }

    fn take(&mut self, n: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|&e| e <= self.bytes.len()).ok_or("it is cut off")?;
        let out = &self.bytes[self.at..end];
        self.at = end;
        Ok(out)
    }

    fn byte(&mut self) -> Step<u8> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian number of N bytes.
    fn number<const N: usize>(&mut self) -> Step<u64> {
        Ok(self.take(N)?.iter().rev().fold(0, |sum, &b| sum << 8 | u64::from(b)))
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = &self.bytes[self.at..];
        let n = rest.iter().position(|&b| b == b'\n').ok_or("it is cut off")?;
        let line = self.take(n + 1)?;
        std::str::from_utf8(&line[..n]).map_err(|_| "a Python name that is not text".into())
    }

    fn push(&mut self, node: Node<'a>) -> Step<()> {
        if self.nodes.len() >= MOST_VALUES {
            return Err(format!("more than {MOST_VALUES} values"));
        }
        self.stack.push(self.nodes.len() as Id);
        self.nodes.push(node);
        Ok(())
    }

    fn int(&mut self, v: i64) -> Step<()> {
        if (0..i64::from(SMALL_COUNT)).contains(&v) {
            self.stack.push(SMALL + v as Id);
            return Ok(());
        }
        self.push(Node::Int(v))
    }

    /// A signed little-endian number of so many bytes.
    fn long(&mut self, n: usize) -> Step<()> {
        let b = self.take(n)?;
        if n > 8 {
            return self.push(Node::Large);
        }
        let negative = b.last().is_some_and(|&top| top >= 0x80);
        let start = if negative { -1 } else { 0 };
        self.int(b.iter().rev().fold(start, |sum, &b| sum << 8 | i64::from(b)))
    }

    fn text<const N: usize>(&mut self) -> Step<()> {
        let n = self.number::<N>()?;
        let text = std::str::from_utf8(self.take(length(n)?)?).map_err(|_| "text that is not UTF-8")?;
        self.push(Node::Text(text))
    }

    fn blob<const N: usize>(&mut self) -> Step<()> {
        let n = self.number::<N>()?;
        let bytes = self.take(length(n)?)?;
        self.push(Node::Bytes(bytes))
    }

    /// The lowest height that the stack may have now.
    fn base(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    /// The height of the stack without its n uppermost values.
    fn floor(&self, n: usize) -> Step<usize> {
        self.stack.len().checked_sub(n).filter(|&h| h >= self.base()).ok_or_else(|| "a value is missing".into())
    }

    fn top(&self) -> Step<Id> {
        Ok(self.stack[self.floor(1)?])
    }

    fn pop(&mut self) -> Step<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let from = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(from))
    }

    fn append(&mut self, items: &[Id]) -> Step<()> {
        let top = self.top()?;
        match &mut self.nodes[top as usize] {
            Node::List(list) | Node::Set(list) => list.extend_from_slice(items),
            // Items of a class that nothing is known of.
            Node::Object(_) => {}
            _ => return Err("items are added to what is no list".into()),
        }
        Ok(())
    }

    fn set(&mut self, pairs: &[(Id, Id)]) -> Step<()> {
        let top = self.top()?;
        match &mut self.nodes[top as usize] {
            Node::Dict(dict) => dict.extend_from_slice(pairs),
            Node::Object(_) => {}
            _ => return Err("entries are added to what is no dictionary".into()),
        }
        Ok(())
    }

    fn put(&mut self, at: u64) -> Step<()> {
        let top = self.top()?;
        self.memo.insert(at, top);
        Ok(())
    }

    fn recall(&mut self, at: u64) -> Step<()> {
        let id = *self.memo.get(&at).ok_or("a value is recalled that was never kept")?;
        self.stack.push(id);
        Ok(())
    }

    /// Writes a call down; those that make dictionaries and bytes are known.
    fn call(&mut self, callee: Id, arguments: Id) -> Step<()> {
        if let Node::Global(module, name) = self.nodes[callee as usize] {
            match (module, name) {
                ("collections", "OrderedDict" | "defaultdict") => return self.push(Node::Dict(Vec::new())),
                ("_codecs", "encode") => {
                    if let Some(bytes) = self.latin_1(arguments)? {
                        return self.push(Node::Encoded(bytes));
                    }
                }
                _ => {}
            }
        }
        self.push(Node::Object(Box::new(Object { callee, arguments, state: None })))
    }

    /// Bytes written as text, a character each: how old pickles hold them.
    fn latin_1(&mut self, arguments: Id) -> Step<Option<Box<[u8]>>> {
        let Node::Tuple(arguments) = &self.nodes[arguments as usize] else { return Ok(None) };
        let Some(Node::Text(text)) = arguments.first().map(|&id| &self.nodes[id as usize]) else { return Ok(None) };
        self.encoded += text.len();
        if self.encoded > self.bytes.len() {
            return Err("the same text is made into bytes again and again".into());
        }
        Ok(text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect())
    }
}

fn length(n: u64) -> Step<usize> {
    usize::try_from(n).map_err(|_| "it is cut off".into())
}

fn pairs(items: &[Id]) -> Step<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("a key has no value".into());
    }
    Ok(pairs.iter().map(|p| (p[0], p[1])).collect())
}
