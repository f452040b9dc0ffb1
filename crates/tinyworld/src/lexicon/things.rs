//! Objects: what can be carried, counted, used and compared.

pub(crate) const COLOURS: [&str; 8] = ["red", "blue", "green", "yellow", "black", "white", "brown", "grey"];

/// Things that can be carried, lost, hidden and given away.
pub(crate) const THINGS: [&str; 20] = [
    "ball", "cup", "hat", "book", "lamp", "kite", "box", "drum", "ring", "map", "bell", "bottle", "shell",
    "mirror", "candle", "comb", "coat", "bag", "flute", "mask",
];

/// Things that can be counted: singular and plural.
pub(crate) const COUNTED: [(&str, &str); 10] = [
    ("apple", "apples"),
    ("pear", "pears"),
    ("egg", "eggs"),
    ("coin", "coins"),
    ("nut", "nuts"),
    ("plum", "plums"),
    ("button", "buttons"),
    ("stone", "stones"),
    ("flower", "flowers"),
    ("carrot", "carrots"),
];

/// Goods of the market.
pub(crate) const GOODS: [&str; 12] = [
    "bread", "milk", "salt", "cheese", "apples", "eggs", "flour", "honey", "candles", "soap", "tea", "butter",
];

/// A tool and its uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tool {
    /// Name with its article.
    pub(crate) name: &'static str,
    /// Phrases after "to".
    pub(crate) uses: [&'static str; 3],
}

const fn tool(name: &'static str, uses: [&'static str; 3]) -> Tool {
    Tool { name, uses }
}

pub(crate) const TOOLS: [Tool; 20] = [
    tool("a knife", ["cut the bread", "slice the cheese", "peel the potatoes"]),
    tool("a needle", ["sew the shirt", "mend the torn coat", "stitch the two sheets together"]),
    tool("a hammer", ["drive in the nail", "nail the board to the wall", "crack the hard nuts"]),
    tool("a broom", ["sweep the floor", "clean the dusty stairs", "brush the leaves off the path"]),
    tool("a key", ["unlock the door", "open the locked chest", "lock the gate"]),
    tool("a spade", ["dig a hole", "plant the young tree", "turn over the soil"]),
    tool("a brush", ["paint the wall", "put fresh paint on the fence", "colour the picture"]),
    tool("a saw", ["cut the plank in two", "cut down the dead tree", "take off the thick branch"]),
    tool("a bucket", ["carry water from the well", "bring milk from the barn", "empty the flooded cellar"]),
    tool("a rope", ["tie the boat to the post", "tie up the horse", "pull the cart out of the mud"]),
    tool(
        "a ladder",
        ["climb onto the roof", "reach the high window", "pick the cherries at the top of the tree"],
    ),
    tool("a lantern", ["see in the dark", "find the way at night", "light the dark cellar"]),
    tool("a spoon", ["eat the soup", "stir the tea", "taste the sauce"]),
    tool("a pot", ["boil the eggs", "cook the beans", "make soup for everybody"]),
    tool("a net", ["catch the fish", "catch a butterfly", "get the trout out of the stream"]),
    tool("a pen", ["write a letter", "sign the paper", "write down the address"]),
    tool("an umbrella", ["stay dry in the rain", "walk home through the storm", "keep the rain off"]),
    tool("a towel", ["dry the wet plates", "dry the wet dog", "get dry after the bath"]),
    tool("a match", ["light the fire", "light the candle", "set the dry wood on fire"]),
    tool("a blanket", ["keep warm in the cold night", "cover the sleeping child", "wrap the shivering dog"]),
];

/// Things in ascending order of size. Neighbours are too similar for questions.
pub(crate) const BY_SIZE: [&str; 40] = [
    "grain of sand",
    "ant",
    "bee",
    "button",
    "nut",
    "coin",
    "plum",
    "egg",
    "mouse",
    "apple",
    "cup",
    "bird",
    "shoe",
    "hat",
    "rabbit",
    "cat",
    "bucket",
    "goose",
    "dog",
    "chair",
    "goat",
    "table",
    "pig",
    "donkey",
    "horse",
    "cow",
    "cart",
    "shed",
    "cottage",
    "barn",
    "ship",
    "church",
    "castle",
    "village",
    "forest",
    "town",
    "lake",
    "mountain",
    "country",
    "sea",
];

/// Smallest difference of indices in [`BY_SIZE`] at which the order of two things is obvious.
pub(crate) const CLEAR_DIFFERENCE: usize = 4;
