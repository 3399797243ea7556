//! What the compiler says to an author who got something wrong.

#[test]
fn compile_errors_name_the_place_and_the_remedy() {
    trybuild::TestCases::new().compile_fail("tests/compile_errors/*.rs");
}
