//! JSON arguments to BCS, by the type of the parameter.
//! Never guesses: a value that does not fit its type is an error that names it.

use cactus_move_vm::{AccountAddress, StructTag, TypeTag, U256};
use serde_json::Value;

use super::json::is_string;
use crate::framework::FRAMEWORK;

/// Deepest nesting of vectors and options.
const MAX_DEPTH: usize = 8;

/// A JSON value that is no value of the type.
#[derive(Debug, thiserror::Error)]
#[error("{value} is no {expected}")]
pub struct BadArgument {
    value: String,
    expected: String,
}

/// Encodes `value` as BCS of type `tag`.
pub fn encode(tag: &TypeTag, value: &Value) -> Result<Vec<u8>, BadArgument> {
    let mut bytes = Vec::new();
    let fits = write(&mut bytes, tag, value, 0);
    let bad = || BadArgument { value: shortened(value), expected: tag.to_string() };
    fits.map(|()| bytes).ok_or_else(bad)
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}

fn write(bytes: &mut Vec<u8>, tag: &TypeTag, value: &Value, depth: usize) -> Option<()> {
    if depth > MAX_DEPTH {
        return None;
    }
    match tag {
        TypeTag::Bool => bytes.push(u8::from(value.as_bool()?)),
        TypeTag::U8 => bytes.extend(u8::try_from(number(value)?).ok()?.to_le_bytes()),
        TypeTag::U16 => bytes.extend(u16::try_from(number(value)?).ok()?.to_le_bytes()),
        TypeTag::U32 => bytes.extend(u32::try_from(number(value)?).ok()?.to_le_bytes()),
        TypeTag::U64 => bytes.extend(u64::try_from(number(value)?).ok()?.to_le_bytes()),
        TypeTag::U128 => bytes.extend(number(value)?.to_le_bytes()),
        TypeTag::U256 => {
            let text = value.as_str()?;
            bytes.extend(U256::from_str_radix(text, 10).ok()?.to_le_bytes());
        }
        TypeTag::Address => bytes.extend(address(value)?.0),
        TypeTag::Vector(element) => vector(bytes, element, value, depth)?,
        TypeTag::Struct(tag) => structure(bytes, tag, value, depth)?,
        _ => return None,
    }
    Some(())
}

fn number(value: &Value) -> Option<u128> {
    match value {
        Value::Number(number) => number.as_u64().map(u128::from),
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

fn address(value: &Value) -> Option<AccountAddress> {
    value.as_str()?.parse().ok()
}

fn vector(bytes: &mut Vec<u8>, element: &TypeTag, value: &Value, depth: usize) -> Option<()> {
    if let (TypeTag::U8, Value::String(text)) = (element, value) {
        let content = hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok()?;
        length(bytes, content.len())?;
        bytes.extend(content);
        return Some(());
    }
    let items = value.as_array()?;
    length(bytes, items.len())?;
    items.iter().try_for_each(|item| write(bytes, element, item, depth + 1))
}

fn structure(bytes: &mut Vec<u8>, tag: &StructTag, value: &Value, depth: usize) -> Option<()> {
    let name = (tag.module.as_str(), tag.name.as_str());
    match (name, tag.type_args.as_slice()) {
        _ if tag.address != FRAMEWORK => None,
        _ if is_string(tag) => {
            let text = value.as_str()?;
            length(bytes, text.len())?;
            bytes.extend(text.as_bytes());
            Some(())
        }
        (("object", "Object"), _) => {
            let inner = value.get("inner").unwrap_or(value);
            bytes.extend(address(inner)?.0);
            Some(())
        }
        (("option", "Option"), [element]) => option(bytes, element, value, depth),
        _ => None,
    }
}

fn option(bytes: &mut Vec<u8>, element: &TypeTag, value: &Value, depth: usize) -> Option<()> {
    let content = match value.get("vec") {
        Some(content) => content,
        None if value.is_null() => {
            bytes.push(0);
            return Some(());
        }
        None => return None,
    };
    let start = bytes.len();
    vector(bytes, element, content, depth)?;
    matches!(bytes.get(start), Some(0 | 1)).then_some(())
}

/// ULEB128.
fn length(bytes: &mut Vec<u8>, length: usize) -> Option<()> {
    let mut rest = u32::try_from(length).ok()?;
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7f).ok()? | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).ok()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(tag: &str, value: &Value, expected: Option<&str>) {
        let tag: TypeTag = tag.parse().unwrap();
        let encoded = encode(&tag, value).ok().map(hex::encode);
        assert_eq!(encoded.as_deref(), expected, "{tag} from {value}");
    }

    #[test]
    fn values_encode_by_the_type_of_the_parameter() {
        check("u8", &json!(255), Some("ff"));
        check("u64", &json!("258"), Some("0201000000000000"));
        check("u64", &json!(258), Some("0201000000000000"));
        check("bool", &json!(true), Some("01"));
        check("vector<u8>", &json!("0x0102"), Some("020102"));
        check("vector<u8>", &json!([1, 2]), Some("020102"));
        check("vector<u16>", &json!([1]), Some("010100"));
        check("0x1::string::String", &json!("hé"), Some("0368c3a9"));
        check("0x1::option::Option<u8>", &json!({"vec": []}), Some("00"));
        check("0x1::option::Option<u8>", &json!({"vec": ["7"]}), Some("0107"));
        check("0x1::option::Option<u8>", &json!(null), Some("00"));
        let mut long = "00".repeat(31);
        long.push_str("0a");
        check("address", &json!("0xa"), Some(&long));
        check("0x1::object::Object<0x1::fungible_asset::Metadata>", &json!("0xa"), Some(&long));
        check("0x1::object::Object<u8>", &json!({"inner": "0xa"}), Some(&long));
        let mut one = "01".to_owned();
        one.push_str(&"00".repeat(31));
        check("u256", &json!("1"), Some(&one));
    }

    #[test]
    fn values_of_another_type_are_refused() {
        check("u8", &json!(256), None);
        check("u8", &json!(-1), None);
        check("u64", &json!("0x10"), None);
        check("u64", &json!("1 "), None);
        check("bool", &json!("true"), None);
        check("address", &json!(1), None);
        check("vector<u8>", &json!("0x012"), None);
        check("0x1::option::Option<u8>", &json!({"vec": [1, 2]}), None);
        check("0x2::thing::Thing", &json!({}), None);
        check("signer", &json!("0x1"), None);
    }

    #[test]
    fn long_vectors_have_long_counts() {
        let text = "a".repeat(300);
        let encoded = encode(&"0x1::string::String".parse().unwrap(), &json!(text)).unwrap();
        assert_eq!(encoded, aptos_bcs::to_bytes(&text).unwrap());
    }
}
