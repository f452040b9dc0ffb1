//! An interpreter of pickles of tensors.
//!
//! A pickle is a program for a stack machine. This interpreter supports the instructions that `torch.save`
//! writes for a dictionary of tensors. In place of Python's imports, it has a fixed list of names that it
//! understands and never executes. Every instruction creates at most one value, and values refer to each
//! other by number. Memory is therefore bounded by the length of the pickle, whatever nesting, cycles or
//! forged lengths it contains.

use std::collections::HashMap;

use safetensors::Dtype;

/// Description of a tensor in a pickle, not yet checked against the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PickledTensor {
    pub(crate) storage: PickledStorage,
    /// Number of elements of the storage before the first element of the tensor.
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

/// Description of a file of values in the archive, which several tensors may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PickledStorage {
    /// Name below `data/`.
    pub(crate) key: String,
    pub(crate) dtype: Dtype,
    /// Number of elements.
    pub(crate) len: usize,
}

/// Error of a pickle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PickleError {
    /// It uses something that is not part of the description of tensors.
    Forbidden(String),
    /// It differs from what `torch.save` writes.
    Malformed(String),
}

type PickleResult<T> = std::result::Result<T, PickleError>;

fn malformed<T>(problem: impl Into<String>) -> PickleResult<T> {
    Err(PickleError::Malformed(problem.into()))
}

fn forbidden<T>(what: impl Into<String>) -> PickleResult<T> {
    Err(PickleError::Forbidden(what.into()))
}

/// Returns the names and tensors of the dictionary of a pickle, in its order.
pub(crate) fn read_state_dict(pickle: &[u8]) -> PickleResult<Vec<(String, PickledTensor)>> {
    let mut machine = PickleMachine { bytes: pickle, ..PickleMachine::default() };
    let root = machine.run()?;
    let PickleValue::Dict(entries) = machine.value(root) else {
        return malformed(
            "contains no dictionary of tensors; save the state_dict() of the model instead of the model",
        );
    };
    let named = |&(key, value): &(ValueId, ValueId)| match (machine.value(key), machine.value(value)) {
        (PickleValue::Str(name), PickleValue::Tensor(tensor)) => Ok((name.clone(), tensor.clone())),
        (PickleValue::Str(name), PickleValue::Dict(_)) => malformed(format!(
            "contains a dictionary under `{name}`, expected a tensor; save only the state_dict()"
        )),
        (PickleValue::Str(name), value) => {
            malformed(format!("contains {} under `{name}`, expected a tensor", value.kind()))
        }
        (key, _) => malformed(format!("contains {} as a name, expected a str", key.kind())),
    };
    entries.iter().map(named).collect()
}

/// Number of a value.
type ValueId = usize;

#[derive(Debug)]
enum PickleValue {
    None,
    Bool,
    Int(i64),
    Float,
    Str(String),
    Tuple(Vec<ValueId>),
    List(Vec<ValueId>),
    Dict(Vec<(ValueId, ValueId)>),
    Global(PickleGlobal),
    Storage(PickledStorage),
    Tensor(PickledTensor),
}

impl PickleValue {
    fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool => "a bool",
            Self::Int(_) => "an int",
            Self::Float => "a float",
            Self::Str(_) => "a str",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Global(_) => "a function or class",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// Names that a pickle may import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PickleGlobal {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    RebuildFromType,
    /// `torch.Tensor` or `torch.nn.Parameter`, as the type of the result of `RebuildFromType`.
    TensorType,
    StorageType(Dtype),
}

impl PickleGlobal {
    fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Self::RebuildParameter
            }
            ("torch._tensor", "_rebuild_from_type_v2") => Self::RebuildFromType,
            ("torch" | "torch._tensor", "Tensor") | ("torch.nn.parameter", "Parameter") => Self::TensorType,
            ("torch", name) => Self::StorageType(match name {
                "FloatStorage" => Dtype::F32,
                "HalfStorage" => Dtype::F16,
                "BFloat16Storage" => Dtype::BF16,
                "DoubleStorage" => Dtype::F64,
                "LongStorage" => Dtype::I64,
                "IntStorage" => Dtype::I32,
                "ShortStorage" => Dtype::I16,
                "CharStorage" => Dtype::I8,
                "ByteStorage" => Dtype::U8,
                "BoolStorage" => Dtype::BOOL,
                _ => return None,
            }),
            _ => return None,
        })
    }
}

#[derive(Default)]
struct PickleMachine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<PickleValue>,
    stack: Vec<ValueId>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u64, ValueId>,
}

impl PickleMachine<'_> {
    /// Runs the pickle, and returns the value on top of the stack at its end.
    fn run(&mut self) -> PickleResult<ValueId> {
        loop {
            let instruction = self.byte()?;
            match instruction {
                // PROTO and FRAME.
                0x80 => drop(self.byte()?),
                0x95 => drop(self.take(8)?),
                // STOP
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                // POP, POP_MARK
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_to_mark()?),
                b'N' => self.push(PickleValue::None),
                0x88 | 0x89 => self.push(PickleValue::Bool),
                b'G' => {
                    self.take(8)?;
                    self.push(PickleValue::Float);
                }
                b'K' | b'M' | b'J' | 0x8a => self.int(instruction)?,
                b'X' | 0x8c => self.text(instruction)?,
                b')' | b't' | 0x85..=0x87 => self.tuple(instruction)?,
                b']' => self.push(PickleValue::List(Vec::new())),
                b'}' => self.push(PickleValue::Dict(Vec::new())),
                b'a' | b'e' => self.append(instruction == b'e')?,
                b's' | b'u' => self.set_items(instruction == b'u')?,
                // BINPUT, LONG_BINPUT, MEMOIZE
                b'q' => self.number(1).and_then(|key| self.put(key))?,
                b'r' => self.number(4).and_then(|key| self.put(key))?,
                0x94 => self.put(self.memo.len() as u64)?,
                // BINGET, LONG_BINGET
                b'h' => self.number(1).and_then(|key| self.get(key))?,
                b'j' => self.number(4).and_then(|key| self.get(key))?,
                // GLOBAL, STACK_GLOBAL
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.import(&module, &name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (module, name) = (self.str(module)?.to_owned(), self.str(name)?.to_owned());
                    self.import(&module, &name)?;
                }
                // BINPERSID, REDUCE, BUILD
                b'Q' => self.storage()?,
                b'R' => self.reduce()?,
                b'b' => self.build()?,
                other => return forbidden(unknown_instruction(other)),
            }
        }
    }

    fn take(&mut self, length: usize) -> PickleResult<&[u8]> {
        match self.bytes.get(self.at..).and_then(|rest| rest.get(..length)) {
            Some(taken) => {
                self.at += length;
                Ok(taken)
            }
            None => {
                malformed(format!("its pickle ends in the middle of an instruction, at byte {}", self.at))
            }
        }
    }

    fn byte(&mut self) -> PickleResult<u8> {
        Ok(self.take(1)?[0])
    }

    /// Reads an unsigned number of up to eight bytes.
    fn number(&mut self, bytes: usize) -> PickleResult<u64> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn line(&mut self) -> PickleResult<String> {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            return malformed("its pickle ends within a name");
        };
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.byte()?;
        Ok(line)
    }

    fn value(&self, id: ValueId) -> &PickleValue {
        &self.values[id]
    }

    fn push(&mut self, value: PickleValue) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> PickleResult<ValueId> {
        if self.stack.len() <= self.floor() {
            return malformed("its pickle pops from an empty stack");
        }
        self.stack
            .pop()
            .ok_or_else(|| PickleError::Malformed("its pickle pops from an empty stack".to_owned()))
    }

    fn pop_to_mark(&mut self) -> PickleResult<Vec<ValueId>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => malformed("its pickle uses a mark that was not set"),
        }
    }

    fn top(&self) -> PickleResult<ValueId> {
        match self.stack.last() {
            Some(&top) if self.stack.len() > self.floor() => Ok(top),
            _ => malformed("its pickle reads an empty stack"),
        }
    }

    fn put(&mut self, key: u64) -> PickleResult<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn get(&mut self, key: u64) -> PickleResult<()> {
        match self.memo.get(&key) {
            Some(&id) => {
                self.stack.push(id);
                Ok(())
            }
            None => malformed(format!("its pickle reads memo {key}, which was not set")),
        }
    }

    fn int(&mut self, instruction: u8) -> PickleResult<()> {
        let bytes = match instruction {
            b'K' => 1,
            b'M' => 2,
            b'J' => 4,
            _ => usize::from(self.byte()?),
        };
        if bytes > 8 {
            return malformed(format!("contains an int of {bytes} bytes, expected at most 8"));
        }
        let number = self.number(bytes)?;
        // BININT and LONG1 are signed.
        let unused = 64 - 8 * bytes as u32;
        let is_signed = matches!(instruction, b'J' | 0x8a) && bytes > 0;
        let number =
            if is_signed { (number << unused).cast_signed() >> unused } else { number.cast_signed() };
        self.push(PickleValue::Int(number));
        Ok(())
    }

    fn text(&mut self, instruction: u8) -> PickleResult<()> {
        let length = self.number(if instruction == b'X' { 4 } else { 1 })?;
        match std::str::from_utf8(self.take(length as usize)?) {
            Ok(text) => {
                let text = text.to_owned();
                self.push(PickleValue::Str(text));
                Ok(())
            }
            Err(_) => malformed("contains a str that is not UTF-8"),
        }
    }

    fn tuple(&mut self, instruction: u8) -> PickleResult<()> {
        let items = match instruction {
            b')' => Vec::new(),
            b't' => self.pop_to_mark()?,
            counted => {
                let count = usize::from(counted - 0x84);
                if self.stack.len() < self.floor() + count {
                    return malformed("its pickle pops from an empty stack");
                }
                self.stack.split_off(self.stack.len() - count)
            }
        };
        self.push(PickleValue::Tuple(items));
        Ok(())
    }

    fn append(&mut self, is_many: bool) -> PickleResult<()> {
        let items = if is_many { self.pop_to_mark()? } else { vec![self.pop()?] };
        let list = self.top()?;
        match &mut self.values[list] {
            PickleValue::List(list) => {
                list.extend(items);
                Ok(())
            }
            other => malformed(format!("appends to {}", other.kind())),
        }
    }

    fn set_items(&mut self, is_many: bool) -> PickleResult<()> {
        let items = if is_many {
            self.pop_to_mark()?
        } else {
            let value = self.pop()?;
            vec![self.pop()?, value]
        };
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return malformed("contains a key without a value");
        }
        let dict = self.top()?;
        match &mut self.values[dict] {
            PickleValue::Dict(entries) => {
                entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            other => malformed(format!("puts items into {}", other.kind())),
        }
    }

    fn import(&mut self, module: &str, name: &str) -> PickleResult<()> {
        match PickleGlobal::named(module, name) {
            Some(global) => {
                self.push(PickleValue::Global(global));
                Ok(())
            }
            None => forbidden(format!("`{}`", format!("{module}.{name}").escape_debug())),
        }
    }

    /// Reads a reference to something outside of the pickle: `("storage", type, key, location, elements)`.
    fn storage(&mut self) -> PickleResult<()> {
        let id = self.pop()?;
        let [kind, dtype, key, _location, len] = self.arguments(id, "a storage")?;
        match (self.value(kind), self.value(dtype), self.value(key)) {
            (
                PickleValue::Str(kind),
                &PickleValue::Global(PickleGlobal::StorageType(dtype)),
                PickleValue::Str(key),
            ) if kind == "storage" => {
                let storage = PickledStorage { key: key.clone(), dtype, len: self.size(len)? };
                self.push(PickleValue::Storage(storage));
                Ok(())
            }
            _ => malformed("refers to an external object that is not the storage of a tensor"),
        }
    }

    fn reduce(&mut self) -> PickleResult<()> {
        let arguments = self.pop()?;
        let function = self.pop()?;
        let made = match self.value(function) {
            &PickleValue::Global(function) => self.call(function, arguments)?,
            other => return forbidden(format!("a call of {}", other.kind())),
        };
        self.push(made);
        Ok(())
    }

    fn call(&self, function: PickleGlobal, arguments: ValueId) -> PickleResult<PickleValue> {
        match function {
            PickleGlobal::OrderedDict => match self.value(arguments) {
                PickleValue::Tuple(items) if items.is_empty() => Ok(PickleValue::Dict(Vec::new())),
                _ => malformed("creates an OrderedDict with arguments"),
            },
            PickleGlobal::RebuildTensor => self.rebuild_tensor(arguments),
            PickleGlobal::RebuildParameter => {
                let [data] = self.arguments(arguments, "a parameter")?;
                match self.value(data) {
                    PickleValue::Tensor(tensor) => Ok(PickleValue::Tensor(tensor.clone())),
                    other => malformed(format!("creates a parameter from {}", other.kind())),
                }
            }
            PickleGlobal::RebuildFromType => {
                let [function, kind, inner] = self.arguments(arguments, "a tensor of another type")?;
                match (self.value(function), self.value(kind)) {
                    (
                        PickleValue::Global(PickleGlobal::RebuildTensor),
                        PickleValue::Global(PickleGlobal::TensorType),
                    ) => self.rebuild_tensor(inner),
                    _ => forbidden("`torch._tensor._rebuild_from_type_v2` for anything but plain tensors"),
                }
            }
            PickleGlobal::TensorType | PickleGlobal::StorageType(_) => forbidden("a call of a type"),
        }
    }

    /// Creates a tensor from `(storage, offset, shape, strides, ...)`. The flag for gradients and the hooks
    /// are ignored.
    fn rebuild_tensor(&self, arguments: ValueId) -> PickleResult<PickleValue> {
        let [storage, offset, shape, strides] = self.arguments(arguments, "a tensor")?;
        let PickleValue::Storage(storage) = self.value(storage) else {
            return malformed("creates a tensor from something that is not a storage");
        };
        let tensor = PickledTensor {
            storage: storage.clone(),
            offset: self.size(offset)?,
            shape: self.sizes(shape)?,
            strides: self.sizes(strides)?,
        };
        if tensor.shape.len() != tensor.strides.len() {
            return malformed("contains a tensor with different numbers of strides and axes");
        }
        Ok(PickleValue::Tensor(tensor))
    }

    /// Sets attributes. A `state_dict()` has one, `_metadata`, with versions of modules. No others are
    /// accepted.
    fn build(&mut self) -> PickleResult<()> {
        let state = self.pop()?;
        let is_metadata = |&(key, _): &(ValueId, ValueId)| self.str(key).is_ok_and(|key| key == "_metadata");
        match (self.value(self.top()?), self.value(state)) {
            (PickleValue::Dict(_), PickleValue::Dict(state)) if state.iter().all(is_metadata) => Ok(()),
            (other, _) => forbidden(format!("attributes of {} (BUILD)", other.kind())),
        }
    }

    /// Returns the first `N` items of a tuple.
    fn arguments<const N: usize>(&self, tuple: ValueId, what: &str) -> PickleResult<[ValueId; N]> {
        match self.value(tuple) {
            PickleValue::Tuple(items) if items.len() >= N => Ok(std::array::from_fn(|at| items[at])),
            _ => malformed(format!("describes {what} with fewer than {N} values")),
        }
    }

    fn str(&self, id: ValueId) -> PickleResult<&str> {
        match self.value(id) {
            PickleValue::Str(text) => Ok(text),
            other => malformed(format!("contains {}, expected a str", other.kind())),
        }
    }

    fn size(&self, id: ValueId) -> PickleResult<usize> {
        match *self.value(id) {
            PickleValue::Int(number) => usize::try_from(number)
                .map_err(|_| PickleError::Malformed(format!("contains {number}, expected a size"))),
            ref other => malformed(format!("contains {}, expected a size", other.kind())),
        }
    }

    fn sizes(&self, id: ValueId) -> PickleResult<Vec<usize>> {
        match self.value(id) {
            // Libraries support fewer axes. More would allow descriptions that take more memory than the
            // file.
            PickleValue::Tuple(items) if items.len() <= 8 => {
                items.iter().map(|&item| self.size(item)).collect()
            }
            _ => malformed("contains a tensor whose shape is not a tuple of at most 8 sizes"),
        }
    }
}

/// Returns the name of an instruction that isn't part of the description of tensors, as in Python's
/// `pickletools`.
fn unknown_instruction(byte: u8) -> String {
    let name = match byte {
        b'i' => "INST",
        b'o' => "OBJ",
        0x81 => "NEWOBJ",
        0x92 => "NEWOBJ_EX",
        0x82..=0x84 => "EXT",
        b'P' => "PERSID",
        b'2' => "DUP",
        b'g' => "GET",
        b'p' => "PUT",
        b'I' => "INT",
        b'L' => "LONG",
        0x8b => "LONG4",
        b'F' => "FLOAT",
        b'V' => "UNICODE",
        0x8d => "BINUNICODE8",
        b'S' => "STRING",
        b'T' => "BINSTRING",
        b'U' => "SHORT_BINSTRING",
        b'B' => "BINBYTES",
        b'C' => "SHORT_BINBYTES",
        0x8e => "BINBYTES8",
        0x96 => "BYTEARRAY8",
        b'd' => "DICT",
        b'l' => "LIST",
        0x8f => "EMPTY_SET",
        0x90 => "ADDITEMS",
        0x91 => "FROZENSET",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => return format!("the unknown instruction {byte:#04x}"),
    };
    format!("the instruction {name}")
}

#[cfg(test)]
mod tests;
