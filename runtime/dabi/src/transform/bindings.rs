//! One module per version of the contract in `wit/`; nothing outside of this
//! folder names a generated type.

pub(super) mod v0_1;
