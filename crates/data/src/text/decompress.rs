//! Decompression of files while they are read.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use fs_err::File;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::text::files::{Compression, TextFile};

const BUFFER: usize = 1 << 18;

/// Largest window of a frame: that of zstd's `--long=31`.
const MAX_WINDOW: u64 = 1 << 31;

/// Opens a file and decompresses it. `bytes_read` counts the compressed bytes.
pub(crate) fn open_text(file: &TextFile, bytes_read: Arc<AtomicU64>) -> io::Result<Box<dyn BufRead + Send>> {
    let reader = CountingReader { reader: File::open(&file.path)?, bytes: bytes_read };
    Ok(decompressed(reader, file.compression))
}

/// Opens a file and decompresses it if its name ends in `.gz` or `.zst`.
///
/// # Errors
/// The error of the file system, with the path.
pub fn open_decompressed(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let name = path.to_string_lossy().to_ascii_lowercase();
    Ok(decompressed(File::open(path)?, Compression::of(&name).1))
}

fn decompressed(reader: impl Read + Send + 'static, compression: Compression) -> Box<dyn BufRead + Send> {
    let raw = BufReader::with_capacity(BUFFER, reader);
    match compression {
        Compression::None => Box::new(raw),
        Compression::Gzip => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(raw))),
        Compression::Zstd => Box::new(BufReader::with_capacity(BUFFER, ZstdFrames::new(raw))),
    }
}

/// Reader that counts bytes, so that progress over compressed files can be shown.
#[derive(Debug)]
struct CountingReader<R> {
    reader: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Reader of all frames of a zstd file, of which `pzstd` and `cat` create several.
struct ZstdFrames<R> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        Self { source, decoder, in_frame: false }
    }

    /// Advances to the next frame with data, or returns `false` at the end of the file.
    fn begin_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped =
                        io::copy(&mut self.source.by_ref().take(u64::from(length)), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }

    fn check_sum(&self) -> io::Result<()> {
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(expected), Some(found)) if expected != found => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "checksum mismatch"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame && !self.begin_frame()? {
                return Ok(0);
            }
            self.in_frame = true;
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            let n = self.decoder.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            self.check_sum()?;
            self.in_frame = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    fn decompress(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        ZstdFrames::new(bytes).read_to_end(&mut out)?;
        Ok(out)
    }

    fn frame(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    #[test]
    fn several_frames_are_read_and_skippable_ones_passed_over() {
        let long = b"a longer piece of text ".repeat(20_000);
        let skippable = [&0x184D_2A50_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"xyz"].concat();
        let bytes = [frame(b"one "), skippable, frame(&long), frame(b"")].concat();
        assert_eq!(decompress(&bytes).unwrap(), [b"one ", &long[..]].concat());
        assert!(decompress(b"").unwrap().is_empty());
    }

    #[test]
    fn a_cut_or_foreign_file_is_an_error() {
        let bytes = frame(&b"text that is cut".repeat(1000));
        for cut in [1, 5, bytes.len() / 2, bytes.len() - 1] {
            assert!(decompress(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(decompress(b"plain text").is_err());
    }
}
