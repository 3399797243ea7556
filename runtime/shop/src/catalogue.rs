//! What the shop sells: departments, aisles, and the words that names and
//! descriptions are made of.
//!
//! Invariant: an aisle belongs to one department.

use std::sync::Arc;

use fastrand::Rng;

use crate::row::{Aisle, AisleId, Department, DepartmentId};

struct Section {
    department: &'static str,
    aisles: &'static [&'static str],
    /// What makes one of its products another than the next.
    kinds: &'static [&'static str],
}

const FRESH: &[&str] =
    &["Organic", "Farm", "Ripe", "Local", "Hand-picked", "Baby", "Heirloom", "Washed", "Early", "Sweet"];
const SAVOURY: &[&str] = &[
    "Smoked",
    "Garlic",
    "Sea Salt",
    "Jalapeño",
    "Rosemary",
    "Black Pepper",
    "Mild",
    "Hot",
    "Roasted",
    "Herb",
];
const SWEET: &[&str] = &[
    "Vanilla",
    "Dark Chocolate",
    "Honey",
    "Crème Brûlée",
    "Hazelnut",
    "Caramel",
    "Strawberry",
    "Lemon",
    "Coconut",
    "Cinnamon",
];
const DRINK: &[&str] =
    &["Sparkling", "Light", "Zero", "Ginger", "Elderflower", "Cold-pressed", "Blood Orange", "Classic"];
const PLAIN: &[&str] =
    &["Everyday", "Wholegrain", "Stone-ground", "Traditional", "Golden", "Low-salt", "Rustic", "Fine"];
const HOME: &[&str] =
    &["Gentle", "Extra Strong", "Unscented", "Lavender", "Recycled", "Compact", "Classic", "Sensitive"];

const SECTIONS: [Section; 21] = [
    section(
        "fruit and vegetables",
        &["apples", "citrus", "berries", "leafy greens", "roots", "mushrooms", "fresh herbs"],
        FRESH,
    ),
    section("dairy", &["milk", "yoghurt", "butter", "cream", "hard cheese", "soft cheese", "eggs"], FRESH),
    section("bakery", &["bread", "rolls", "flatbread", "cakes", "pastries", "crispbread"], PLAIN),
    section("meat", &["beef", "pork", "poultry", "lamb", "sausages", "ham"], SAVOURY),
    section("fish", &["salmon", "white fish", "shellfish", "smoked fish", "tinned fish", "sushi"], SAVOURY),
    section(
        "frozen",
        &[
            "ice cream",
            "frozen pizza",
            "frozen vegetables",
            "frozen fruit",
            "chips",
            "ready meals",
            "dumplings",
        ],
        PLAIN,
    ),
    section("pasta and rice", &["pasta", "noodles", "rice", "couscous", "lentils", "pasta sauce"], PLAIN),
    section("baking", &["flour", "sugar", "yeast", "nuts", "dried fruit", "icing", "baking mixes"], PLAIN),
    section("breakfast", &["muesli", "oats", "granola", "jam", "spreads", "syrup"], SWEET),
    section("snacks", &["crisps", "crackers", "popcorn", "pretzels", "salted nuts", "dips"], SAVOURY),
    section("sweets", &["chocolate", "biscuits", "liquorice", "fruit gums", "wafers", "mints"], SWEET),
    section("soft drinks", &["cola", "lemonade", "juice", "water", "iced tea", "energy drinks"], DRINK),
    section(
        "hot drinks",
        &["coffee beans", "ground coffee", "black tea", "green tea", "cocoa", "infusions"],
        SWEET,
    ),
    section(
        "wine and beer",
        &["red wine", "white wine", "rosé", "lager", "ale", "cider", "alcohol-free"],
        DRINK,
    ),
    section(
        "oil and spices",
        &["olive oil", "vinegar", "mustard", "pepper", "salt", "curry", "stock"],
        SAVOURY,
    ),
    section("world food", &["tortillas", "soy sauce", "coconut milk", "kimchi", "falafel", "miso"], SAVOURY),
    section("tins and jars", &["tomatoes", "beans", "soup", "olives", "pickles", "sweetcorn"], PLAIN),
    section("baby", &["nappies", "baby food", "formula", "wipes", "bottles", "baby care"], HOME),
    section("pets", &["cat food", "dog food", "cat litter", "bird seed", "pet toys", "aquarium"], HOME),
    section("household", &["detergent", "cleaner", "paper towels", "bin bags", "candles", "batteries"], HOME),
    section(
        "body care",
        &["soap", "shampoo", "toothpaste", "deodorant", "sun cream", "razors", "plasters", "tissues"],
        HOME,
    ),
];

const SIZES: &[&str] =
    &["Small", "Large", "2 pack", "6 pack", "Family Pack", "Trial Size", "Refill", "Double Pack"];

const OPENINGS: &[&str] = &[
    "Made in small batches",
    "Chosen by people who taste before they buy",
    "A favourite of our regulars",
    "Straight from the makers",
    "Simple, honest and good",
    "The one that we keep at home",
];
const MIDDLES: &[&str] = &[
    "with nothing that you would not have in your own kitchen",
    "by a family that has done little else for four generations",
    "from a place where the weather is right and the water is clear",
    "because the second-best was not good enough for us",
    "without hurry, and without tricks",
    "for days on which it has to be quick",
];
const ENDINGS: &[&str] = &[
    "Keep it cool and dry.",
    "Best within a week of opening.",
    "Goes well with almost everything.",
    "Please bring the packaging back.",
    "Enough for two, or for one with an appetite.",
    "Loved by children; not only by them.",
];

/// Bytes above which PostgreSQL moves a description out of its row, given that
/// the rest of the row is short and the text is not compressed.
pub(crate) const OUT_OF_LINE_BYTES: usize = 2_000;
/// Safely above.
const LONG_BYTES: usize = 2_400;
const SHORT_BYTES: usize = 160;

const fn section(
    department: &'static str,
    aisles: &'static [&'static str],
    kinds: &'static [&'static str],
) -> Section {
    Section { department, aisles, kinds }
}

/// Every department, in the order of their ids.
pub(crate) fn departments() -> impl Iterator<Item = Department> {
    (1..).zip(&SECTIONS).map(|(id, section)| Department {
        department_id: DepartmentId(id),
        department: section.department.into(),
    })
}

/// Every aisle with its department, in the order of their ids.
pub(crate) fn aisles() -> impl Iterator<Item = (Aisle, Department)> {
    let shelves = departments().zip(&SECTIONS).flat_map(|(department, section)| {
        section.aisles.iter().map(move |aisle| (*aisle, department.clone()))
    });
    (1..)
        .zip(shelves)
        .map(|(id, (aisle, department))| (Aisle { aisle_id: AisleId(id), aisle: aisle.into() }, department))
}

/// Any aisle with its department.
pub(crate) fn any_aisle(rng: &mut Rng) -> (Aisle, Department) {
    aisles().nth(rng.usize(..aisles().count())).expect("the place is below the count")
}

/// Another name for an aisle or a department.
pub(crate) fn renamed(name: &str) -> Arc<str> {
    match name.strip_suffix(" and more") {
        Some(short) => short.into(),
        None => format!("{name} and more").into(),
    }
}

/// A product's name, in words of the department.
pub(crate) fn product_name(aisle: &str, department: DepartmentId, rng: &mut Rng) -> Arc<str> {
    let section = usize::try_from(department.0 - 1).ok().and_then(|at| SECTIONS.get(at));
    let kinds = section.map_or(PLAIN, |section| section.kinds);
    let (kind, size) = (pick(kinds, rng), pick(SIZES, rng));
    format!("{kind} {}, {size}", capitalised(aisle)).into()
}

/// Nothing, a sentence or two, or (one in eight) a text so long that the
/// database keeps it beside the row.
pub(crate) fn description(rng: &mut Rng) -> Option<Arc<str>> {
    let bytes = match rng.u8(..8) {
        0..=2 => return None,
        3..=6 => SHORT_BYTES,
        _ => LONG_BYTES,
    };
    let mut text = String::new();
    while text.len() < bytes {
        if !text.is_empty() {
            text.push(' ');
        }
        text += &format!("{}, {}. {}", pick(OPENINGS, rng), pick(MIDDLES, rng), pick(ENDINGS, rng));
    }
    Some(text.into())
}

fn pick(words: &'static [&'static str], rng: &mut Rng) -> &'static str {
    words[rng.usize(..words.len())]
}

fn capitalised(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect::<String>()
    };
    name.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_21_departments_and_134_aisles_of_different_names() {
        assert_eq!(departments().map(|row| row.department).collect::<HashSet<_>>().len(), 21);
        assert_eq!(aisles().map(|(row, _)| row.aisle).collect::<HashSet<_>>().len(), 134);
        assert_eq!(aisles().count(), 134);
    }

    #[test]
    fn a_description_is_clearly_short_or_clearly_long() {
        let mut rng = Rng::with_seed(1);
        let texts: Vec<_> = (0..1_000).filter_map(|_| description(&mut rng)).collect();
        let long = texts.iter().filter(|text| text.len() >= LONG_BYTES).count();
        assert!(texts.iter().all(|text| text.len() >= LONG_BYTES || text.len() < OUT_OF_LINE_BYTES / 4));
        assert!((60..200).contains(&long), "{long}");
    }

    #[test]
    fn names_read_like_names() {
        let name = product_name("hard cheese", DepartmentId(2), &mut Rng::with_seed(3));
        assert!(name.contains("Hard Cheese, "), "{name}");
        assert_eq!(&*renamed(&renamed("dairy")), "dairy");
    }
}
