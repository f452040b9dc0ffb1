//! The key-value cache.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Key-value cache: keys and values of the tokens that a model has processed.
///
/// Clones share their contents until one of them is extended, so a context can be computed once and continued
/// in several ways.
#[derive(Clone, Debug, Default)]
pub struct KvCache {
    layers: Vec<[CacheBuffer; 2]>,
}

impl KvCache {
    /// Creates an empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of cached tokens per row.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, |[keys, _]| keys.len)
    }

    /// Returns whether the cache is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Returns a cache of the given rows, in this order. Rows may repeat.
    #[must_use]
    pub(crate) fn rows(&self, rows: &[usize], device: &Device) -> Self {
        let rows: Vec<i64> = rows.iter().map(|&row| i64::from(row as u32)).collect();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows.clone(), [rows.len()]), device);
        let column = |column: &CacheBuffer| column.map(|buffer| buffer.select(0, rows.clone()));
        Self { layers: self.layers.iter().map(|layer| layer.each_ref().map(column)).collect() }
    }

    /// Concatenates the rows of `caches`, which hold equally many tokens, with spare capacity for `room` more
    /// tokens.
    #[must_use]
    pub(crate) fn stacked(caches: &[Self], room: usize) -> Self {
        let len = caches.first().map_or(0, Self::len);
        let layer = |layer: usize| {
            [0, 1].map(|side| {
                let seen = |cache: &Self| {
                    let column = &cache.layers[layer][side];
                    column.buffer.clone().map(|buffer| buffer.narrow(1, 0, len))
                };
                let seen = Tensor::cat(caches.iter().filter_map(seen).collect(), 0);
                CacheBuffer { len, buffer: Some(with_capacity(seen, len, len + room)) }
            })
        };
        let layers = caches.first().map_or(0, |cache| cache.layers.len());
        Self { layers: (0..layers).map(layer).collect() }
    }

    /// Returns all keys and values of a layer, `[batch, len, kv_heads, head_dim]` each.
    pub(crate) fn layer(&self, layer: usize) -> [Tensor<4>; 2] {
        self.layers[layer].each_ref().map(CacheBuffer::filled)
    }

    /// Appends `[batch, tokens, kv_heads, head_dim]` to a layer, and returns all of its keys and values.
    pub(crate) fn append(&mut self, layer: usize, k: Tensor<4>, v: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        if layer == self.layers.len() {
            self.layers.push(Default::default());
        }
        let [keys, values] = &mut self.layers[layer];
        (keys.append(k), values.append(v))
    }
}

/// Keys or values of a layer, `[batch, capacity, kv_heads, head_dim]`, of which the first `len` are filled.
///
/// The capacity at least doubles when it grows, so that a text of `n` tokens costs `n` copies of a token and
/// not `n²`.
#[derive(Clone, Debug, Default)]
struct CacheBuffer {
    len: usize,
    /// `None` while the cache is empty.
    buffer: Option<Tensor<4>>,
}

impl CacheBuffer {
    fn map(&self, change: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        Self { len: self.len, buffer: self.buffer.clone().map(change) }
    }

    /// Appends `[batch, tokens, kv_heads, head_dim]`, and returns the filled part.
    fn append(&mut self, new: Tensor<4>) -> Tensor<4> {
        let [batch, time, heads, dim] = new.dims();
        let len = self.len + time;
        // Taken out of the option, so that a buffer without other owners is written in place.
        let buffer = match self.buffer.take() {
            Some(buffer) => with_room(buffer, self.len, len)
                .slice_assign([0..batch, self.len..len, 0..heads, 0..dim], new),
            None => new,
        };
        self.len = len;
        self.buffer = Some(buffer);
        self.filled()
    }

    /// Returns the filled part.
    ///
    /// # Panics
    /// If the buffer is empty.
    fn filled(&self) -> Tensor<4> {
        self.buffer.clone().expect("something was appended").narrow(1, 0, self.len)
    }
}

/// Returns a buffer with the same first `filled` tokens and capacity for at least `needed`.
fn with_room(buffer: Tensor<4>, filled: usize, needed: usize) -> Tensor<4> {
    let capacity = buffer.dims()[1];
    if needed <= capacity {
        return buffer;
    }
    with_capacity(buffer, filled, needed.max(2 * capacity))
}

/// Returns a buffer of this capacity with the same first `filled` tokens.
fn with_capacity(buffer: Tensor<4>, filled: usize, capacity: usize) -> Tensor<4> {
    let [batch, _, heads, dim] = buffer.dims();
    let shape = [batch, capacity, heads, dim];
    let larger = Tensor::zeros(shape, (&buffer.device(), buffer.dtype()));
    larger.slice_assign([0..batch, 0..filled, 0..heads, 0..dim], buffer.narrow(1, 0, filled))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    const BATCH: usize = 2;

    /// Tokens `from..to` of a layer, with distinct values in each row and head.
    fn tokens(from: usize, to: usize) -> Tensor<4> {
        let value = |row: usize, token: usize, at: usize| (row * 1000 + token * 10 + at) as f32;
        let values: Vec<f32> = (0..BATCH)
            .flat_map(|row| (from..to).flat_map(move |token| (0..6).map(move |at| value(row, token, at))))
            .collect();
        Tensor::from_data(TensorData::new(values, [BATCH, to - from, 2, 3]), &Device::flex())
    }

    fn negative(from: usize, to: usize) -> Tensor<4> {
        tokens(from, to).neg()
    }

    #[test]
    fn what_is_appended_piece_by_piece_is_all_there() {
        let mut cache = KvCache::new();
        assert!(cache.is_empty());
        let mut seen = 0;
        for time in [3, 1, 1, 1, 5, 1, 40, 1] {
            for layer in 0..2 {
                let (k, v) = cache.append(layer, tokens(seen, seen + time), negative(seen, seen + time));
                assert_eq!(k.into_data(), tokens(0, seen + time).into_data());
                assert_eq!(v.into_data(), negative(0, seen + time).into_data());
            }
            seen += time;
            assert_eq!(cache.len(), seen);
        }
    }

    #[test]
    fn clones_go_on_by_themselves() {
        let mut context = KvCache::new();
        context.append(0, tokens(0, 4), negative(0, 4));
        context.append(0, tokens(4, 5), negative(4, 5));
        let mut other = context.clone();
        let (first, _) = context.append(0, tokens(5, 6), negative(5, 6));
        let (second, _) = other.append(0, negative(5, 6), tokens(5, 6));
        let (later, _) = context.append(0, tokens(6, 7), negative(6, 7));
        assert_eq!(first.into_data(), tokens(0, 6).into_data(), "what was handed out stays as it was");
        let continued = Tensor::cat(vec![tokens(0, 5), negative(5, 6)], 1);
        assert_eq!(second.into_data(), continued.into_data());
        assert_eq!(later.into_data(), tokens(0, 7).into_data());
        assert_eq!((context.len(), other.len()), (7, 6));
    }

    #[test]
    fn growing_is_rare() {
        let mut column = CacheBuffer::default();
        let mut capacities = Vec::new();
        for at in 0..100 {
            column.append(tokens(at, at + 1));
            capacities.push(column.buffer.as_ref().map_or(0, |buffer| buffer.dims()[1]));
        }
        capacities.dedup();
        assert_eq!(capacities, [1, 2, 4, 8, 16, 32, 64, 128]);
    }
}
