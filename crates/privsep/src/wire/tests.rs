//! Tests of the codec of fields.

use proptest::prelude::*;

use super::*;

fn bytes<T: Field>(value: &T) -> Vec<u8> {
    let mut out = Writer::default();
    value.put(&mut out);
    out.finish()
}

fn read<T: Field>(bytes: &[u8]) -> Result<T, WireError> {
    let mut from = Reader::new(bytes);
    let value = T::take(&mut from)?;
    from.finish()?;
    Ok(value)
}

#[test]
fn a_length_that_lies_reserves_nothing_and_is_refused() {
    let lying = [0xff, 0xff, 0xff, 0xff, 1, 2, 3];
    assert_eq!(read::<String>(&lying), Err(WireError::Short(4)));
    assert_eq!(read::<Blob>(&lying), Err(WireError::Short(4)));
    assert!(read::<Vec<u64>>(&lying).is_err());
    assert!(read::<Vec<Blob>>(&lying).is_err());
}

#[test]
fn what_is_left_over_or_unknown_is_refused() {
    assert_eq!(read::<u8>(&[1, 2]), Err(WireError::Long(1)));
    assert_eq!(read::<bool>(&[2]), Err(WireError::Unknown { what: "truth value", value: 2 }));
    assert!(read::<IpAddr>(&[5, 0, 0, 0, 0]).is_err());
    assert_eq!(read::<String>(&[1, 0, 0, 0, 0xff]), Err(WireError::NotText));
    assert!(read::<u32>(&[1, 2, 3]).is_err());
}

proptest! {
    #[test]
    fn every_value_comes_back(
        text in ".*",
        blob in proptest::collection::vec(any::<u8>(), 0..200),
        numbers in (any::<u8>(), any::<u16>(), any::<u32>(), any::<u64>(), any::<i32>(), any::<i64>()),
        address in any::<IpAddr>(),
        pairs in proptest::collection::vec((".*", any::<bool>()), 0..20),
    ) {
        prop_assert_eq!(read::<String>(&bytes(&text)), Ok(text.clone()));
        prop_assert_eq!(read::<Option<Blob>>(&bytes(&Some(Blob(blob.clone())))), Ok(Some(Blob(blob))));
        prop_assert_eq!(read::<u8>(&bytes(&numbers.0)), Ok(numbers.0));
        prop_assert_eq!(read::<u16>(&bytes(&numbers.1)), Ok(numbers.1));
        prop_assert_eq!(read::<u32>(&bytes(&numbers.2)), Ok(numbers.2));
        prop_assert_eq!(read::<u64>(&bytes(&numbers.3)), Ok(numbers.3));
        prop_assert_eq!(read::<i32>(&bytes(&numbers.4)), Ok(numbers.4));
        prop_assert_eq!(read::<i64>(&bytes(&numbers.5)), Ok(numbers.5));
        prop_assert_eq!(read::<IpAddr>(&bytes(&address)), Ok(address));
        prop_assert_eq!(read::<Vec<(String, bool)>>(&bytes(&pairs)), Ok(pairs));
    }
}
