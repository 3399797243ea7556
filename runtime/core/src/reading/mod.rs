//! Reading wire columns as the types that a transform declares.
