use super::*;

/// A pickle of `{"w": tensor}` in protocol 2, with these instructions for the tensor.
fn holding(tensor: &[u8]) -> Vec<u8> {
    [b"\x80\x02}X\x01\x00\x00\x00w", tensor, b"s."].concat()
}

/// `_rebuild_tensor_v2` of a float16 storage of 12 values, with a tuple of sizes and one of strides.
fn rebuilt(offset: &[u8], shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let storage =
        b"(X\x07\x00\x00\x00storagectorch\nHalfStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x0ctQ";
    [b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage[..], offset, shape, strides, b"\x89NtR"].concat()
}

fn tensor(shape: &[usize], strides: &[usize], offset: usize) -> PickledTensor {
    let storage = PickledStorage { key: "0".to_owned(), dtype: Dtype::F16, len: 12 };
    PickledTensor { storage, offset, shape: shape.to_vec(), strides: strides.to_vec() }
}

#[test]
fn tensors_are_read_as_they_are_described() {
    let pickle = holding(&rebuilt(b"K\x02", b"K\x02K\x03\x86", b"K\x05K\x01\x86"));
    let expected = vec![("w".to_owned(), tensor(&[2, 3], &[5, 1], 2))];
    assert_eq!(read_state_dict(&pickle).unwrap(), expected);

    // The same with instructions of protocol 4, a type, and numbers of other widths.
    let storage =
        b"(\x8c\x07storage\x8c\x05torch\x8c\x0bHalfStorage\x93\x8c\x010\x8c\x03cpuJ\x0c\x00\x00\x00tQ";
    let rebuild = b"\x8c\x0ctorch._utils\x8c\x12_rebuild_tensor_v2\x93";
    let arguments = [b"(", &storage[..], b"\x8a\x01\x02M\x02\x00K\x03\x86K\x05K\x01\x86\x89Nt"].concat();
    let from_type = b"\x8c\x0dtorch._tensor\x8c\x15_rebuild_from_type_v2\x93";
    let parameter = b"\x8c\x12torch.nn.parameter\x8c\x09Parameter\x93";
    let tensor = [&from_type[..], b"\x94(", &rebuild[..], &parameter[..], &arguments, b"}tR\x94"].concat();
    let pickle = [b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}(\x8c\x01w", &tensor[..], b"u."].concat();
    assert_eq!(read_state_dict(&pickle).unwrap(), expected);
}

#[test]
fn what_describes_no_tensor_is_refused_by_name() {
    let cases: [(&[u8], &str); 14] = [
        (b"cos\nsystem\n(X\x02\x00\x00\x00lstR.", "`os.system`"),
        (b"cbuiltins\neval\nX\x01\x00\x00\x001\x85R.", "`builtins.eval`"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "`posix.system`"),
        (b"ctorch.hub\nload\n.", "`torch.hub.load`"),
        (b"ctorch\n_utils.os.system\n.", "`torch._utils.os.system`"),
        (b"ctorch\nFloatStorage\n)R.", "a call of a type"),
        (b"}X\x01\x00\x00\x00a)R.", "a call of a str"),
        (b"(ios\nsystem\n.", "the instruction INST"),
        (b"ccollections\nOrderedDict\n)\x81.", "the instruction NEWOBJ"),
        (b"\x82\x01.", "the instruction EXT"),
        (b"P1\n.", "the instruction PERSID"),
        (b"\xff", "the unknown instruction 0xff"),
        (b"ccollections\nOrderedDict\n)R}X\x09\x00\x00\x00__class__Nsb.", "attributes of a dict (BUILD)"),
        (b"](N}b.", "attributes of None (BUILD)"),
    ];
    for (pickle, what) in cases {
        let error = read_state_dict(pickle).unwrap_err();
        assert_eq!(error, PickleError::Forbidden(what.to_owned()), "{}", pickle.escape_ascii());
    }
    let nested = b"ctorch._tensor\n_rebuild_from_type_v2\n(ccollections\nOrderedDict\nctorch\nTensor\n)tR";
    let Err(PickleError::Forbidden(what)) = read_state_dict(&holding(nested)) else { panic!("accepted") };
    assert!(what.contains("plain tensors"), "{what}");
}

#[test]
fn what_is_no_dictionary_of_tensors_says_so() {
    let cases: [(&[u8], &str); 18] = [
        (b"", "ends in the middle"),
        (b"\x80\x02}", "ends in the middle"),
        (b"X\xff\xff\xff\xffab", "ends in the middle"),
        (b"cos", "within a name"),
        (b".", "empty stack"),
        (b"(.", "empty stack"),
        (b"}(0", "empty stack"),
        (b"\x86.", "empty stack"),
        (b"u.", "a mark that was not set"),
        (b"h\x05.", "memo 5, which was not set"),
        (b"}(Nu.", "a key without a value"),
        (b"N]a.", "appends to None"),
        (b"N}]s.", "puts items into None"),
        (b"].", "no dictionary of tensors"),
        (b"}X\x01\x00\x00\x00aK\x01s.", "an int under `a`"),
        (b"}X\x05\x00\x00\x00model}s.", "a dictionary under `model`"),
        (b"}NNs.", "None as a name"),
        (b"\x8a\x09123456789.", "an int of 9 bytes"),
    ];
    for (pickle, problem) in cases {
        match read_state_dict(pickle) {
            Err(PickleError::Malformed(said)) => assert!(said.contains(problem), "{said}, not {problem}"),
            other => panic!("{}: {other:?}", pickle.escape_ascii()),
        }
    }
    for (offset, shape, strides) in [
        (&b"K\x02"[..], &b"K\x02\x85"[..], &b"K\x02K\x01\x86"[..]),
        (b"J\xff\xff\xff\xff", b")", b")"),
        (b"N", b")", b")"),
        (b"K\x00", b"]", b")"),
    ] {
        let error = read_state_dict(&holding(&rebuilt(offset, shape, strides))).unwrap_err();
        assert!(matches!(error, PickleError::Malformed(_)), "{error:?}");
    }
}

/// Nested tuples, each with two copies of the previous one: four billion values if they are copied, and 64 if
/// they aren't.
#[test]
fn bombs_are_as_large_as_their_pickle() {
    let mut pickle = b")".to_vec();
    for number in 0..60 {
        pickle.extend([b'q', number, b'h', number, 0x86]);
    }
    pickle.push(b'.');
    assert!(matches!(read_state_dict(&pickle), Err(PickleError::Malformed(_))));

    // A million nested tuples, and a list that contains itself.
    let deep = [vec![b')'; 1], vec![0x85; 1_000_000], b".".to_vec()].concat();
    assert!(matches!(read_state_dict(&deep), Err(PickleError::Malformed(_))));
    assert!(matches!(read_state_dict(b"]q\x00h\x00a."), Err(PickleError::Malformed(_))));
    // Stored under the largest memo number.
    assert!(read_state_dict(b"}r\xff\xff\xff\xffj\xff\xff\xff\xff.").unwrap().is_empty());
}

proptest::proptest! {
    #[test]
    fn arbitrary_pickles_end(bytes: Vec<u8>) {
        let _ = read_state_dict(&bytes);
    }

    #[test]
    fn arbitrary_instructions_end(choices in proptest::collection::vec(0_usize..22, 0..200)) {
        let instructions: [&[u8]; 22] = [
            b"(", b"0", b"1", b"N", b"K\x01", b"X\x01\x00\x00\x00w", b")", b"t", b"\x85", b"\x86", b"]", b"}",
            b"a", b"e", b"s", b"u", b"q\x00", b"h\x00", b"ctorch._utils\n_rebuild_tensor_v2\n", b"Q", b"R",
            b"b",
        ];
        let pickle: Vec<u8> = choices.iter().flat_map(|&at| instructions[at]).chain(b".").copied().collect();
        let _ = read_state_dict(&pickle);
    }
}
