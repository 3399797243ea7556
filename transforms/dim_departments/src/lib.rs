//! One row per department, as it is now.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "public.departments")]
struct Department<'a> {
    department: &'a str,
}

/// One row per department, as it is now.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "dim_departments")]
struct DimDepartment<'a> {
    #[key]
    department_id: Passed<i32>,
    department: &'a str,
}

#[dabi_sdk::transform]
fn dim_departments(department: Department) -> DimDepartment {
    DimDepartment { department_id: passed(), department: department.department }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_kept() {
        assert_eq!(dim_departments(Department { department: "dairy" }).department, "dairy");
    }
}
