use super::*;

fn unhex(s: &str) -> Vec<u8> {
    (0..s.len()).step_by(2).map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap()).collect()
}

/// The lines of testdata/cbor.txt: "ok HEX" or "bad HEX", then a comment.
#[test]
fn vectors() {
    let mut seen = [0, 0];
    for line in include_str!("../testdata/cbor.txt").lines() {
        let mut words = line.split_whitespace();
        let (verdict, hex) = match (words.next(), words.next()) {
            (Some(v), Some(h)) if v != "#" => (v, h),
            _ => continue,
        };
        let item = if hex == "-" { Vec::new() } else { unhex(hex) };
        assert_eq!(validate(&item).is_ok(), verdict == "ok", "{}", line);
        seen[(verdict == "ok") as usize] += 1;
        if verdict == "ok" {
            let mut cursor = Cursor::new(&item);
            assert_eq!(cursor.raw(), item, "cursor on {}", line);
        }
    }
    assert!(seen[0] > 40 && seen[1] > 30, "{:?}", seen);
}

/// The vectors of the Go codec: one object a line with "hex" and "valid".
#[test]
fn vectors_of_the_go_codec() {
    let text = include_str!("../../../abi/cbor/testdata/vectors.json");
    let mut seen = 0;
    for line in text.lines().filter(|l| l.contains("\"hex\"")) {
        let hex = line.split("\"hex\": \"").nth(1).and_then(|rest| rest.split('"').next()).expect(line);
        let valid = line.contains("\"valid\": true");
        assert!(valid || line.contains("\"valid\": false"), "{}", line);
        assert_eq!(validate(&unhex(hex)).is_ok(), valid, "{}", line);
        seen += 1;
    }
    assert!(seen > 50, "{} vectors", seen);
}

#[test]
fn nesting_is_bounded() {
    let nested = |n: usize| [vec![0x81; n], vec![0]].concat();
    assert!(validate(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(validate(&nested(MAX_DEPTH + 1)), Err(Error::Depth));
    assert_eq!(validate(&nested(60_000)), Err(Error::Depth));
}

#[test]
fn items_are_bounded() {
    let array_of = |n: u32| {
        let mut b = vec![0x82, 0x80, 0x9a];
        b.extend(n.to_be_bytes());
        b.resize(7 + n as usize, 0);
        b
    };
    assert_eq!(validate(&array_of(MAX_ITEMS)), Err(Error::Depth));
    let within = [vec![0x99, 0xff, 0xff], vec![0; 65535]].concat();
    assert!(validate(&within).is_ok());
}

#[test]
fn typed_reads_refuse_other_kinds() {
    for item in ["00", "20", "40", "60", "80", "a0", "c100", "f4", "f6"] {
        let item = unhex(item);
        let kind = Reader::new(&item).kind().unwrap();
        let read = |f: &dyn Fn(&mut Reader) -> bool| f(&mut Reader::new(&item));
        assert_eq!(read(&|r| r.uint().is_ok()), kind == Kind::Uint);
        assert_eq!(read(&|r| r.int().is_ok()), matches!(kind, Kind::Uint | Kind::Nint));
        assert_eq!(read(&|r| r.bytes().is_ok()), kind == Kind::Bytes);
        assert_eq!(read(&|r| r.text().is_ok()), kind == Kind::Text);
        assert_eq!(read(&|r| r.array().is_ok()), kind == Kind::Array);
        assert_eq!(read(&|r| r.map().is_ok()), kind == Kind::Map);
        assert_eq!(read(&|r| r.tag().is_ok()), kind == Kind::Tag);
        assert_eq!(read(&|r| r.bool().is_ok()), kind == Kind::Bool);
        assert_eq!(read(&|r| r.null().is_ok()), kind == Kind::Null);
    }
}

#[test]
fn integers_keep_their_range() {
    for v in [0, 23, 24, 255, 256, 65535, 65536, u32::MAX as i64, u32::MAX as i64 + 1, i64::MAX] {
        for v in [v, !v] {
            let mut w = Writer::new(16);
            w.int(v);
            let b = w.finish().unwrap();
            assert_eq!(Reader::new(b).int(), Ok(v));
            assert_eq!(Cursor::new(b).int(), v);
            assert!(validate(b).is_ok());
        }
    }
    assert_eq!(Reader::new(&unhex("1b8000000000000000")).int(), Err(Error::Range));
    assert_eq!(Reader::new(&unhex("3b8000000000000000")).int(), Err(Error::Range));
}

#[test]
fn a_full_writer_says_so() {
    let mut w = Writer::new(4);
    w.text("abcd");
    assert_eq!(w.finish(), Err(Error::Full));
}

#[test]
fn fields_must_ascend() {
    let read = |hex: &str| {
        let b = unhex(hex);
        let mut r = Reader::new(&b);
        let mut fields = r.fields()?;
        let mut keys = vec![];
        while let Some(key) = fields.next(&mut r)? {
            keys.push(key);
            r.skip()?;
        }
        r.done().map(|_| keys)
    };
    assert_eq!(read("a20102182003"), Ok(vec![1, 32]));
    assert_eq!(read("a201020103"), Err(Error::Order));
    assert_eq!(read("a202020103"), Err(Error::Order));
    assert_eq!(read("a1616100"), Err(Error::Kind));
}

/// Neither reader may panic or read outside, whatever the bytes are.
#[test]
fn random_bytes_are_harmless() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut buf = [0u8; 48];
    for _ in 0..200_000 {
        for c in buf.iter_mut() {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            *c = (seed >> 32) as u8;
        }
        let n = (seed % 48) as usize;
        let strict = Reader::new(&buf[..n]).raw();
        let walked = Cursor::new(&buf[..n]).raw();
        if let Ok(item) = strict {
            assert_eq!(item, walked);
        }
    }
}
