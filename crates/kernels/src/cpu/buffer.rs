//! A pool of memory for results and scratch. A training step reuses the memory of the step before it, so that
//! nothing is allocated, zeroed or paged in again.

use std::{
    collections::VecDeque,
    mem::{MaybeUninit, take},
    ops::{Deref, DerefMut},
    sync::{Mutex, PoisonError},
};

use burn::tensor::{DType, Shape, TensorData};
use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::tensor::CpuTensor;

/// A cache line. Buffers are aligned to it, so that no vector load crosses a line.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct CacheLine([f32; LINE]);

const LINE: usize = 16;

/// Number of values that one task copies.
const COPY_BLOCK: usize = 1 << 15;

/// Values in memory from the pool. Dropping the buffer returns the memory.
pub(super) struct Buffer {
    lines: Vec<CacheLine>,
    len: usize,
}

impl Buffer {
    /// Returns a buffer of `len` values with unspecified content: write it before reading it.
    pub(super) fn new(len: usize) -> Self {
        let lines = len.div_ceil(LINE);
        Self { lines: POOL.lock().unwrap_or_else(PoisonError::into_inner).take(lines), len }
    }

    /// Returns a buffer of `len` zeros.
    pub(super) fn zeros(len: usize) -> Self {
        let mut buffer = Self::new(len);
        buffer.fill(0.0);
        buffer
    }

    /// Returns a copy of `values`.
    pub(super) fn copy_of(values: &[f32]) -> Self {
        let mut buffer = Self::new(values.len());
        let blocks = buffer.par_chunks_mut(COPY_BLOCK).zip(values.par_chunks(COPY_BLOCK));
        blocks.for_each(|(copy, values)| copy.copy_from_slice(values));
        buffer
    }

    /// Converts the buffer into a tensor without a copy.
    pub(super) fn into_tensor(self, shape: impl Into<Shape>) -> CpuTensor {
        let bytes = self.len * size_of::<f32>();
        #[allow(unsafe_code, reason = "the one way in for memory of our own")]
        // SAFETY: `memory` returns exactly this many bytes, of values that are all initialized.
        let bytes = unsafe { Bytes::from_controller(Box::new(self), bytes) };
        CpuTensor::from_data(TensorData::from_bytes(bytes, shape, DType::F32))
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        POOL.lock().unwrap_or_else(PoisonError::into_inner).give_back(take(&mut self.lines));
    }
}

impl AllocationController for Buffer {
    fn alloc_align(&self) -> usize {
        // The largest alignment that `Bytes` supports.
        align_of::<u128>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    #[allow(unsafe_code, reason = "the trait's signature")]
    unsafe fn memory_mut(&mut self, _policy: AccessPolicy) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let values: &mut [f32] = self;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(values);
        #[allow(unsafe_code, reason = "the trait's signature")]
        // SAFETY: same layout, and the caller promises to write only initialized bytes.
        Ok(unsafe { &mut *(std::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) })
    }

    fn memory(&self, _policy: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let values: &[f32] = self;
        let bytes: &[u8] = bytemuck::cast_slice(values);
        #[allow(unsafe_code, reason = "the trait's signature")]
        // SAFETY: same layout, and initialized bytes may be read as possibly uninitialized ones.
        Ok(unsafe { &*(std::ptr::from_ref(bytes) as *const [MaybeUninit<u8>]) })
    }
}

static POOL: Mutex<BufferPool> = Mutex::new(BufferPool { free: VecDeque::new(), used: 0, kept: 0, peak: 0 });

/// Free memory, least recently used first. Sizes are in cache lines.
struct BufferPool {
    free: VecDeque<Vec<CacheLine>>,
    used: usize,
    kept: usize,
    /// Highest number of lines in use at a time.
    peak: usize,
}

impl BufferPool {
    /// Takes the smallest free piece that fits, or allocates one.
    fn take(&mut self, lines: usize) -> Vec<CacheLine> {
        let fitting = self.free.iter().enumerate().filter(|(_, piece)| fits(piece.len(), lines));
        let found = fitting.min_by_key(|(_, piece)| piece.len()).map(|(index, _)| index);
        let piece = match found.and_then(|index| self.free.remove(index)) {
            Some(piece) => {
                self.kept -= piece.len();
                piece
            }
            None => bytemuck::zeroed_vec(lines),
        };
        self.used += piece.len();
        self.peak = self.peak.max(self.used);
        self.trim();
        piece
    }

    fn give_back(&mut self, piece: Vec<CacheLine>) {
        self.used -= piece.len();
        self.kept += piece.len();
        self.free.push_back(piece);
        self.trim();
    }

    /// Frees the least recently used pieces until the pool holds at most an eighth more than its peak use.
    /// Pieces of one size don't fit another, so a step that needs as much memory in other sizes would
    /// otherwise hold both sets.
    fn trim(&mut self) {
        while self.used + self.kept > self.peak + self.peak / 8 {
            let Some(piece) = self.free.pop_front() else { return };
            self.kept -= piece.len();
        }
    }
}

/// Returns whether a piece fits a request: it is large enough, and at most an eighth larger.
fn fits(piece: usize, lines: usize) -> bool {
    piece >= lines && piece <= lines + lines / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> BufferPool {
        BufferPool { free: VecDeque::new(), used: 0, kept: 0, peak: 0 }
    }

    #[test]
    fn what_is_given_back_is_taken_again() {
        let mut pool = pool();
        let (small, large) = (pool.take(10), pool.take(100));
        let address = large.as_ptr();
        pool.give_back(small);
        pool.give_back(large);
        let again = pool.take(95);
        assert_eq!((again.as_ptr(), again.len()), (address, 100));
        assert_eq!((pool.used, pool.kept, pool.peak), (100, 10, 110));
    }

    #[test]
    fn pieces_much_larger_than_needed_are_left_for_others() {
        assert!(fits(0, 0) && fits(9, 8) && fits(8, 8));
        assert!(!fits(7, 8) && !fits(10, 8) && !fits(1, 0));
    }

    #[test]
    fn little_more_is_held_than_was_ever_used() {
        let mut pool = pool();
        for size in 50..100 {
            let piece = pool.take(size);
            pool.give_back(piece);
            assert!(pool.used + pool.kept <= pool.peak + pool.peak / 8);
        }
        assert_eq!(pool.used, 0);
        assert!(pool.peak == 99 || pool.peak == 98, "a piece serves for a smaller size: {}", pool.peak);
    }

    #[test]
    fn a_tensor_shares_the_memory_and_can_be_written() {
        let mut buffer = Buffer::new(6);
        for (value, i) in buffer.iter_mut().zip(0_i16..) {
            *value = f32::from(i);
        }
        let address = buffer.as_ptr();
        assert_eq!(address.align_offset(64), 0);
        let mut tensor = buffer.into_tensor([2, 3]);
        assert_eq!(tensor.storage::<f32>().as_ptr(), address);
        let copy = tensor.clone();
        tensor.storage_mut::<f32>()[0] = 9.0;
        assert_eq!(tensor.storage::<f32>(), [9.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(copy.storage::<f32>(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(Buffer::zeros(0).len(), 0);
    }
}
