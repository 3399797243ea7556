use super::super::files::Step;
use std::io;
pub(in crate::state) struct Faults;
impl Faults {
    pub(in crate::state) fn step(&self, _: Step<'_>) -> io::Result<()> {
        Ok(())
    }
}
