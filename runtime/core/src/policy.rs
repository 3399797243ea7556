//! Error kind → retry, dead letter or halt, with the remedy.
