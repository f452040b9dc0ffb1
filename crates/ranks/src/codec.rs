//! The one codec of messages between ranks: postcard.

use std::any::type_name;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A message between ranks that could not be encoded or decoded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{collective} of `{message_type}`: cannot {action} the message of rank {rank}: {reason}; \
     check that all ranks run the same build of fineline"
)]
pub(crate) struct CodecError {
    collective: &'static str,
    message_type: &'static str,
    rank: usize,
    action: &'static str,
    reason: String,
}

impl CodecError {
    fn new<T>(collective: &'static str, rank: usize, action: &'static str, reason: String) -> Self {
        Self { collective, message_type: type_name::<T>(), rank, action, reason }
    }
}

/// Encodes the message of `rank` for a collective of this name.
pub(crate) fn encode<T: Serialize>(
    collective: &'static str,
    rank: usize,
    message: &T,
) -> Result<Vec<u8>, CodecError> {
    postcard::to_stdvec(message)
        .map_err(|error| CodecError::new::<T>(collective, rank, "encode", error.to_string()))
}

/// Decodes the message of `rank` in a collective of this name. Bytes after the message are an error.
pub(crate) fn decode<T: DeserializeOwned>(
    collective: &'static str,
    rank: usize,
    bytes: &[u8],
) -> Result<T, CodecError> {
    let reason = match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => return Ok(message),
        Ok((_, rest)) => format!("{} of its {} bytes are left over", rest.len(), bytes.len()),
        Err(error) => error.to_string(),
    };
    Err(CodecError::new::<T>(collective, rank, "decode", reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip() {
        let message = (Some(0.1_f64), vec!["a".to_owned()], f32::NAN.to_bits());
        let bytes = encode("all_gather", 3, &message).unwrap();
        assert_eq!(decode("all_gather", 3, &bytes), Ok(message));
    }

    #[test]
    fn an_undecodable_message_is_named() {
        let error = decode::<Option<String>>("broadcast", 2, &[7]).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "broadcast of `core::option::Option<alloc::string::String>`: \
                 cannot decode the message of rank 2: "
            ),
            "{error}"
        );
        let error = decode::<u8>("all_gather", 5, &[1, 2, 3]).unwrap_err().to_string();
        assert!(
            error.contains("all_gather of `u8`: cannot decode the message of rank 5: 2 of its 3 bytes"),
            "{error}"
        );
    }
}
