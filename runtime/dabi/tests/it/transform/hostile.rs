//! Modules that are not what they should be, and answers that are not.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringArray};
use dabi::transform::{Applied, ApplyFailure, InputBatch, Module, ModuleError};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::{guest, runtime};

fn attack(name: &str, rows: usize) -> Result<Applied, ApplyFailure> {
    let input = InputBatch { rows, columns: vec![Arc::new(StringArray::from(vec![name; rows]))] };
    guest("hostile").instantiate().unwrap().apply(&input)
}

#[test]
fn an_answer_that_is_not_as_declared_is_refused() {
    let check = |name: &str, expected: &str| match attack(name, 10) {
        Err(ApplyFailure::Answer { cause }) => assert!(cause.contains(expected), "{name}: {cause}"),
        other => panic!("{name}: {other:?}"),
    };
    check("offsets fall", "target hostile: column text: its offsets begin at 10 instead of 0");
    check("offsets begin late", "its offsets begin at 1 instead of 0");
    check("offsets end late", "its offsets end at 10, its data at 9");
    check("offsets end early", "its offsets end at 10, its data at 11");
    check("offsets missing", "it has 0 offsets for 10 values");
    check("not utf-8", "column text: Invalid argument error: Encountered non UTF-8 data");
    check("letters cut", "column text: ");
    check("values missing", "column amount: it has 9 values instead of 10");
    check("another form", "its values are not in the form of decimal(3,0)");
    check("column missing", "1 columns instead of 2");
    check("column too many", "3 columns instead of 2");
    check("validity too short", "validity: its bitmap has 0 bytes for 10 values");
    check("validity too long", "validity: its bitmap has 11 bytes for 10 values");
    check("other target", "it names target 9 of 1");
    check("other origin", "origin 10 of 10 rows");
    check("other error row", "an error names row 10 of 10");
    check("too big", "too much data is being copied");
}

#[test]
fn a_module_may_fail_in_its_own_words() {
    let failure = attack("failure", 3).unwrap_err();
    assert_eq!((failure.code(), failure.to_string().as_str()), ("own-code", "it failed: own words"));
}

#[test]
fn a_value_that_does_not_fit_costs_only_its_row() {
    let check = |name: &str, code: &str| {
        let applied = attack(name, 8).unwrap();
        let errors: Vec<_> = applied.errors.iter().map(|error| (error.row, error.code.as_str())).collect();
        assert_eq!(errors, [(0, code)], "{name}");
        assert_eq!(applied.outputs[0].origin, [1, 2, 3, 4, 5, 6, 7]);
        assert!(
            applied.outputs[0].columns.iter().all(|column| column.len() == 7 && column.null_count() == 0)
        );
    };
    check("too wide", "decimal-overflow");
    check("null", "unexpected-null");
    check("error and output", "first");
}

#[test]
fn long_words_of_a_module_are_cut() {
    let applied = attack("error and output", 2).unwrap();
    assert_eq!(applied.errors[0].message.len(), 4096);
}

#[test]
fn one_row_may_give_several() {
    let applied = attack("row twice", 3).unwrap();
    assert_eq!(applied.outputs[0].origin, [0, 0, 0]);
    assert_eq!(applied.outputs[0].columns[0].as_string::<i32>().len(), 3);
}

/// A core module in text form that claims to be a transform.
fn core(code: &str) -> Vec<u8> {
    core_of("package test:guest; world guest { include dabi:transform/transform@0.1.0; }", code)
}

/// A core module in text form that claims to be of the only world of `wit`.
fn core_of(wit: &str, code: &str) -> Vec<u8> {
    let mut module = wat::parse_str(code).unwrap();
    let mut resolve = Resolve::default();
    resolve.push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit/v0.1")).unwrap();
    let package = resolve.push_str("guest.wit", wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

fn exports(describe: &str) -> String {
    format!(
        r#"(module
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "describe") (result i32) {describe})
            (func (export "apply") (param i32 i32 i32) (result i32) unreachable))"#
    )
}

fn check_refused(bytes: &[u8], expected: &str) {
    match Module::load(&runtime(), "bad.wasm", bytes) {
        Ok(module) => panic!("{module:?} was let in"),
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("bad.wasm"), "{message}");
            assert!(message.contains(expected), "{message}");
        }
    }
}

#[test]
fn what_is_not_a_transform_is_not_let_in() {
    check_refused(b"#!/bin/sh", "is not a WASM file");
    check_refused(b"\0asm\x01\0\0\0garbage", "cannot be made a component");
    check_refused(b"\0asm\x0d\0\x01\0garbage", "does not compile");
    check_refused(&wat::parse_str("(module)").unwrap(), "does not export the world");
    check_refused(&wat::parse_str("(component)").unwrap(), "does not export the world");
}

#[test]
fn a_core_module_that_imports_is_not_let_in() {
    let code = exports("unreachable").replace("(module", r#"(module (import "evil" "open" (func))"#);
    check_refused(&core(&code), "evil");
}

#[test]
fn an_import_that_is_called_traps() {
    let wit =
        "package test:guest; world guest { import open: func(); include dabi:transform/transform@0.1.0; }";
    let code = exports("call $open i32.const 8")
        .replace("(module", r#"(module (import "$root" "open" (func $open))"#);
    check_refused(&core_of(wit, &code), "describe() failed: it trapped: unknown import: `open`");
}

#[test]
fn a_declaration_that_fails_is_not_let_in() {
    check_refused(&core(&exports("unreachable")), "describe() failed: it trapped");
    check_refused(&core(&exports("(loop br 0) unreachable")), "describe() failed: it did not end within 1s");
    check_refused(&core(&exports("i32.const 0xfffff0")), "describe() failed: its answer is not usable");
    let memory = exports("unreachable").replace("\"memory\") 1", "\"memory\") 2000");
    check_refused(&core(&memory), "describe() failed: it needs more than 67108864 bytes");
    let memories = exports("unreachable")
        .replace("\"memory\") 1", "\"memory\") 600")
        .replace("(func (export \"des", "(memory 600) (func (export \"des");
    check_refused(&core(&memories), "describe() failed: it needs more than 67108864 bytes");
}

#[test]
fn a_declaration_of_nothing_is_not_let_in() {
    // Zeros are an empty name, an empty source and no targets.
    check_refused(&core(&exports("i32.const 8")), "\"\" is not a table name");
}

#[test]
fn the_kind_of_the_error_says_who_can_help() {
    let error = Module::load(&runtime(), "bad.wasm", b"text").unwrap_err();
    assert!(matches!(error, ModuleError::NotWasm { .. }));
}
