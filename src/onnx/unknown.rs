//! A scan of the encoded file for fields that the generated types do not have, because the decoder drops them.
//!
//! Only tags and lengths are read: the payload of a leaf, such as the weights, is skipped untouched.

use std::fmt::Write;

use super::warning::Warning;

include!(concat!(env!("OUT_DIR"), "/fields.rs"));

/// The fields of a message, by number.
type Message = &'static [Field];

/// A field that the format has.
struct Field {
    number: u32,
    name: &'static str,
    repeated: bool,
    /// The message that the field holds.
    message: Option<usize>,
}

/// Warnings for the unknown fields of an encoded model: one for each field number of each message, with the first place.
pub(super) fn unknown_fields(bytes: &[u8]) -> Vec<Warning> {
    let mut scan = Scan { path: Vec::new(), found: Vec::new() };
    scan.message(bytes, ROOT);
    let warning = |f: Found| Warning::UnknownField { number: f.number, place: f.place, more: f.more };
    scan.found.into_iter().map(warning).collect()
}

/// The top-level field whose length reaches beyond the end, with that length and what is there of it, if everything
/// before it looks like a model.
pub(super) fn cut_off(bytes: &[u8]) -> Option<(&'static str, u64, u64)> {
    let mut wire = Wire(bytes);
    while !wire.0.is_empty() {
        let (number, kind) = wire.tag()?;
        let field = MESSAGES.get(ROOT)?.iter().find(|f| f.number == number)?;
        if kind == 2 {
            let length = wire.varint()?;
            let found = wire.0.len() as u64;
            if length > found {
                return Some((field.name, length, found));
            }
            wire.0 = wire.0.get(length as usize..)?;
        } else {
            wire.skip(kind)?;
        }
    }
    None
}

struct Scan {
    path: Vec<(&'static str, Option<u32>)>,
    found: Vec<Found>,
}

/// An unknown field of one kind of message.
struct Found {
    message: usize,
    number: u32,
    place: String,
    more: u64,
}

impl Scan {
    /// Scans one message. Stops at what is not well-formed: the decoder has refused it already.
    fn message(&mut self, bytes: &[u8], message: usize) -> Option<()> {
        let fields: &[Field] = MESSAGES.get(message)?;
        let mut counts = [0u32; 32];
        let mut wire = Wire(bytes);
        while !wire.0.is_empty() {
            let (number, kind) = wire.tag()?;
            let Some(at) = fields.iter().position(|f| f.number == number) else {
                self.note(message, number);
                wire.skip(kind)?;
                continue;
            };
            let field = fields.get(at)?;
            let (Some(inner), 2) = (field.message, kind) else {
                wire.skip(kind)?;
                continue;
            };
            let payload = wire.payload()?;
            let count = counts.get_mut(at)?;
            self.path.push((field.name, field.repeated.then_some(*count)));
            *count += 1;
            self.message(payload, inner);
            self.path.pop();
        }
        Some(())
    }

    fn note(&mut self, message: usize, number: u32) {
        if let Some(found) = self.found.iter_mut().find(|f| f.message == message && f.number == number) {
            found.more += 1;
        } else {
            let place = self.place();
            self.found.push(Found { message, number, place, more: 0 });
        }
    }

    fn place(&self) -> String {
        if self.path.is_empty() {
            return "model".to_owned();
        }
        let mut place = String::new();
        for (name, index) in &self.path {
            let dot = if place.is_empty() { "" } else { "." };
            let index = index.map_or_else(String::new, |i| format!("[{i}]"));
            // Writing to a string does not fail.
            let _ = write!(place, "{dot}{name}{index}");
        }
        place
    }
}

/// Protobuf's wire format.
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Field number and wire type.
    fn tag(&mut self) -> Option<(u32, u8)> {
        let tag = u32::try_from(self.varint()?).ok()?;
        Some((tag >> 3, (tag & 7) as u8))
    }

    fn payload(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (payload, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(payload)
    }

    fn skip(&mut self, kind: u8) -> Option<()> {
        match kind {
            0 => drop(self.varint()?),
            1 => self.0 = self.0.get(8..)?,
            2 => drop(self.payload()?),
            3 => self.skip_group()?,
            5 => self.0 = self.0.get(4..)?,
            _ => return None,
        }
        Some(())
    }

    /// Skips to the end of a group, through the groups inside.
    fn skip_group(&mut self) -> Option<()> {
        let mut depth = 1;
        while depth > 0 {
            match self.tag()?.1 {
                3 => depth += 1,
                4 => depth -= 1,
                kind => self.skip(kind)?,
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(bytes: &[u8]) -> Vec<String> {
        unknown_fields(bytes).iter().map(ToString::to_string).collect()
    }

    /// A length-delimited field.
    fn field(number: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
        prost::encoding::encode_varint(payload.len() as u64, &mut bytes);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn unknown_fields_are_named_at_any_depth() {
        let bad = field(2000, b"x");
        let node = field(5, &bad);
        let graph =
            [field(1, &[]), field(1, &field(3, b"n")), field(1, &[node.clone(), node].concat())].concat();
        let found = texts(&[vec![0x08, 10], field(7, &graph), vec![0x98, 0x06, 1]].concat());
        assert_eq!(
            found,
            [
                "unknown field 2000 in `graph.node[2].attribute[0]` (and 1 more): it will be lost",
                "unknown field 99 in `model`: it will be lost",
            ]
        );
    }

    #[test]
    fn known_fields_raw_data_and_groups_are_passed_over() {
        let tensor = [field(9, &[0xff; 9]), field(4, &[0; 8])].concat();
        assert!(texts(&field(7, &field(5, &tensor))).is_empty());
        // Field 50 as a group with a group inside, then a field of another number.
        let group = [0x93, 0x03, 0x0b, 0x08, 1, 0x0c, 0x94, 0x03, 0xa0, 0x03, 7];
        assert_eq!(texts(&group).len(), 2);
    }

    #[test]
    fn the_end_of_the_file_may_be_missing() {
        let whole = [vec![0x08, 10], field(7, &[0; 100])].concat();
        assert_eq!(cut_off(&whole), None);
        assert_eq!(cut_off(&whole[..50]), Some(("graph", 100, 46)));
        assert_eq!(cut_off(b"<html>"), None);
    }
}
