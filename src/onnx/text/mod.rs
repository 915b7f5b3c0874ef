//! The ONNX text syntax: text ⇄ protobuf types.
//!
//! The grammar is the standard's own, the one of `onnx.parser` and `onnx.printer`, release 1.23:
//!
//! ```text
//! model      = [ '<' header '>' ] graph function*
//! header     = property (',' property)*            -- ir_version: 8, opset_import: ["" : 17], producer_name: "x",
//!                                                     producer_version, domain, model_version, doc_string,
//!                                                     metadata_props: ["key": "value"]
//! graph      = name '(' [entry, …] ')' '=>' '(' [value, …] ')' [ '<' [entry, …] '>' ] '{' node* '}'
//! value      = [type] name
//! entry      = [type] name [ '=' data ]            -- with data an initializer, without it a value_info
//! function   = [ '<' header '>' ] name [ '<' (name | attribute), … '>' ]      -- domain, overload, opset_import,
//!              '(' [value, …] ')' '=>' '(' [value, …] ')' [ '<' [value, …] '>' ] '{' node* '}'       doc_string
//! node       = [ '[' name ']' ] names '=' op [attributes] '(' names ')' [attributes]    -- attributes once
//! op         = (id '.')* id [ ':' overload ]       -- domain, operator type, overload
//! names      = [ name (',' name)* ]                -- "" or nothing before a comma: an absent operand
//! attributes = '<' attribute (',' attribute)* '>'
//! attribute  = id [ ':' kind ] '=' ( single | '[' single, … ']' )     -- an empty list needs its kind
//! kind       = float int string tensor graph sparse_tensor type_proto, and each with an s
//! single     = number | string | graph | type | '@' name | type [name] ['='] data
//! data       = '{' [number | string, …] '}' | '[' "key": "value", … ']'       -- the second one: external data
//! type       = element | element '[' ']' | element '[' dim, … ']' | 'seq' '(' type ')' | 'map' '(' element ',' type ')'
//!            | 'optional' '(' type ')' | 'sparse_tensor' '(' tensor-type ')' | 'opaque' '(' [ [domain ','] name ] ')'
//! dim        = '?' | name | integer
//! name       = id | string
//! string     = '"' characters '"'                  -- a backslash stands for the character after it, whatever that is
//! ```
//!
//! An id is a letter or `_` followed by letters, digits and `_`; everything else is quoted. `#` starts a comment that
//! ends with the line. `float` is a scalar, `float[]` a tensor of unknown rank. Floating-point numbers are decimal with an
//! optional exponent, or `inf`, `infinity`, `nan` in any case, with or without `-`.
//!
//! **Tensor elements.** float16, bfloat16 and the eight- and six-bit floats are written as their bit patterns, complex
//! numbers as two numbers each. Types of four and two bits are written as the protobuf field has them: a number is
//! one byte of two or four elements, lowest bits first. A list with one number an element is read too, and packed.
//! `{}` is a tensor without data, whatever its dims say; any other number of values must fit the dims.
//!
//! **Beyond the standard's parser**, and read by ours only: lists of tensors, graphs and types; bodies whose graph
//! name is quoted; quoted names of attributes, operators, domains and overloads where they are no ids; sparse tensors
//! in attributes, as `sparse_tensor(float[3,4]) {float[2] {1, 2}, int64[2] {0, 5}}`: values, then indices.
//!
//! **Lost in the text form**, for which the grammar has no place: `doc_string` and `metadata_props` of graphs, nodes,
//! values and tensors (and `metadata_props` of functions), denotations, quantization annotations, training
//! information, device configurations, tensor segments, the payload of a NaN, bytes of a string that are not UTF-8,
//! the difference between an absent and an empty string, and whether data were raw or typed. Initializers that are
//! sparse, without data, or above [`PrintOptions::max_elements`] become declarations, after those with data. The name
//! of a tensor in an attribute is kept only if it is an id, since the standard's parser takes no other. A type that the
//! standard has no word for leaves its value untyped, and an attribute of such a type is left out.

mod fill;
mod lex;
mod names;
mod parse_attribute;
mod parse_graph;
mod parse_model;
mod parse_tensor;
mod parse_type;
mod print_attribute;
mod print_graph;
mod print_model;
mod print_tensor;
mod print_type;
#[cfg(test)]
mod tests;

pub use fill::Fill;
pub(in crate::onnx) use fill::fill_graph;

use crate::onnx::proto::ModelProto;

/// How deep bodies (and container types) may nest.
const MAX_DEPTH: usize = 64;

/// A place in the text and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct TextError {
    /// Line, from 1.
    pub(crate) line: usize,
    /// Column in characters, from 1.
    pub(crate) column: usize,
    /// What was expected and what was found.
    pub(crate) message: String,
}

/// What [`print_model()`] leaves out.
#[derive(Debug, Clone)]
pub(crate) struct PrintOptions {
    /// A tensor with more elements than this is declared without its data.
    pub(crate) max_elements: usize,
}

impl Default for PrintOptions {
    /// Everything is printed.
    fn default() -> Self {
        Self { max_elements: usize::MAX }
    }
}

/// Reads a model: header, graph, functions.
pub(crate) fn parse_model(text: &str) -> Result<ModelProto, TextError> {
    parse_model::parse(&mut lex::Cursor::new(text)?)
}

/// Writes a model so that [`parse_model()`] reads it back, apart from what the module's introduction lists as lost.
pub(crate) fn print_model(model: &ModelProto, options: &PrintOptions) -> String {
    print_model::print(model, options)
}
