//! What a transform may return.
//!
//! Owns the shapes of an answer, and gathering them into outputs, one per star
//! table. Does not own columns (`write`).
//!
//! Invariant: a refusal stands around a whole answer, never inside of it, so a
//! refused row has written nothing.

use crate::bindings::types::Output;
use crate::declare::Filled;
use crate::row::{RowError, StarRow};

/// Rows of one star table: one, perhaps one, or several.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not rows of a star table",
    label = "not a star row, nor Option, Vec or an array of one",
    note = "put #[derive(StarRow)] and #[star(table = \"name\")] on the struct"
)]
pub trait Rows {
    /// The star row.
    type Star: StarRow;
    /// Can there be more than one?
    const SEVERAL: bool;

    /// Appends the rows, which come from row `origin` of the batch.
    fn write_to(self, origin: u32, sink: &mut Sink<Self::Star>);
}

/// The rows of one star table so far.
pub struct Sink<S: StarRow> {
    builders: S::Builders,
    origin: Vec<u32>,
}

impl<S: StarRow> Sink<S> {
    fn new(rows: usize) -> Self {
        Self { builders: S::builders(rows), origin: Vec::with_capacity(rows) }
    }

    fn output(self, target: u32) -> Output {
        Output { target, origin: self.origin, columns: S::finish(self.builders) }
    }
}

impl<S: StarRow> Rows for S {
    type Star = S;
    const SEVERAL: bool = false;

    #[inline(always)]
    fn write_to(self, origin: u32, sink: &mut Sink<S>) {
        self.write(&mut sink.builders);
        sink.origin.push(origin);
    }
}

impl<R: Rows> Rows for Option<R> {
    type Star = R::Star;
    const SEVERAL: bool = R::SEVERAL;

    #[inline(always)]
    fn write_to(self, origin: u32, sink: &mut Sink<R::Star>) {
        if let Some(rows) = self {
            rows.write_to(origin, sink);
        }
    }
}

impl<R: Rows> Rows for Vec<R> {
    type Star = R::Star;
    const SEVERAL: bool = true;

    fn write_to(self, origin: u32, sink: &mut Sink<R::Star>) {
        for rows in self {
            rows.write_to(origin, sink);
        }
    }
}

impl<R: Rows, const N: usize> Rows for [R; N] {
    type Star = R::Star;
    const SEVERAL: bool = N > 1 || R::SEVERAL;

    fn write_to(self, origin: u32, sink: &mut Sink<R::Star>) {
        for rows in self {
            rows.write_to(origin, sink);
        }
    }
}

/// What a transform may return: rows of a star table, of several, or a refusal.
#[diagnostic::on_unimplemented(
    message = "a transform cannot return `{Self}`",
    label = "not a star row, nor made of star rows",
    note = "it returns a star row, or Option, Vec or an array of one; a tuple of these for several star tables; or \
            Result<…, RowError> of any of them",
    note = "put #[derive(StarRow)] and #[star(table = \"name\")] on the struct that it returns"
)]
pub trait Answer {
    /// The star tables that it fills, in their order.
    const TABLES: &'static [Filled];
    /// The rows so far.
    type Sinks;

    /// No rows yet, with room for those of `rows` source rows.
    fn sinks(rows: usize) -> Self::Sinks;

    /// Appends what was made of row `origin` of the batch.
    ///
    /// # Errors
    /// The refusal of the row; then nothing is appended.
    fn write(self, origin: u32, sinks: &mut Self::Sinks) -> Result<(), RowError>;

    /// The rows of each table.
    fn outputs(sinks: Self::Sinks) -> Vec<Output>;
}

impl<R: Rows> Answer for R {
    const TABLES: &'static [Filled] = &[Filled::by::<R>()];
    type Sinks = Sink<R::Star>;

    fn sinks(rows: usize) -> Self::Sinks {
        Sink::new(rows)
    }

    #[inline(always)]
    fn write(self, origin: u32, sink: &mut Self::Sinks) -> Result<(), RowError> {
        self.write_to(origin, sink);
        Ok(())
    }

    fn outputs(sink: Self::Sinks) -> Vec<Output> {
        vec![sink.output(0)]
    }
}

impl<A: Answer, E: Into<RowError>> Answer for Result<A, E> {
    const TABLES: &'static [Filled] = A::TABLES;
    type Sinks = A::Sinks;

    fn sinks(rows: usize) -> Self::Sinks {
        A::sinks(rows)
    }

    #[inline(always)]
    fn write(self, origin: u32, sinks: &mut Self::Sinks) -> Result<(), RowError> {
        self.map_err(Into::into)?.write(origin, sinks)
    }

    fn outputs(sinks: Self::Sinks) -> Vec<Output> {
        A::outputs(sinks)
    }
}

macro_rules! several_tables {
    ($($rows:ident $position:tt),*) => {
        impl<$($rows: Rows),*> Answer for ($($rows,)*) {
            const TABLES: &'static [Filled] = &[$(Filled::by::<$rows>()),*];
            type Sinks = ($(Sink<$rows::Star>,)*);

            fn sinks(rows: usize) -> Self::Sinks {
                ($(Sink::<$rows::Star>::new(rows),)*)
            }

            #[inline(always)]
            fn write(self, origin: u32, sinks: &mut Self::Sinks) -> Result<(), RowError> {
                $(self.$position.write_to(origin, &mut sinks.$position);)*
                Ok(())
            }

            fn outputs(sinks: Self::Sinks) -> Vec<Output> {
                vec![$(sinks.$position.output($position)),*]
            }
        }

        impl<$($rows: Rows),*> Answer for Option<($($rows,)*)> {
            const TABLES: &'static [Filled] = <($($rows,)*)>::TABLES;
            type Sinks = <($($rows,)*) as Answer>::Sinks;

            fn sinks(rows: usize) -> Self::Sinks {
                <($($rows,)*)>::sinks(rows)
            }

            #[inline(always)]
            fn write(self, origin: u32, sinks: &mut Self::Sinks) -> Result<(), RowError> {
                self.map_or(Ok(()), |rows| rows.write(origin, sinks))
            }

            fn outputs(sinks: Self::Sinks) -> Vec<Output> {
                <($($rows,)*)>::outputs(sinks)
            }
        }
    };
}

several_tables!(A 0, B 1);
several_tables!(A 0, B 1, C 2);
several_tables!(A 0, B 1, C 2, D 3);
