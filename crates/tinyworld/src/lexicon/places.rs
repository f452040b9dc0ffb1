//! Towns, rooms, and the places of errands.

pub(crate) const TOWNS: [&str; 16] = [
    "Ashford", "Birkley", "Crowden", "Dunmere", "Eastholm", "Farrow", "Glenby", "Harwick", "Ironby",
    "Kelton", "Larkhill", "Norwood", "Oakham", "Thornby", "Wexley", "Yarrow",
];

pub(crate) const RIVERS: [&str; 12] =
    ["Arn", "Bel", "Corve", "Dove", "Esk", "Findle", "Garr", "Hodder", "Isen", "Lune", "Mersa", "Wenn"];

pub(crate) const PRODUCTS: [&str; 12] = [
    "cheese", "glass", "honey", "wool", "paper", "boats", "clocks", "shoes", "carpets", "bells", "candles",
    "baskets",
];

/// Parts of a house and its surroundings. Each can follow "in the".
pub(crate) const ROOMS: [&str; 14] = [
    "kitchen", "garden", "cellar", "attic", "barn", "bedroom", "hall", "stable", "shed", "yard", "tower",
    "library", "workshop", "cottage",
];

/// A place of the town, and the needs it serves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Errand {
    pub(crate) place: &'static str,
    /// Phrases after "to".
    pub(crate) needs: [&'static str; 3],
}

const fn errand(place: &'static str, needs: [&'static str; 3]) -> Errand {
    Errand { place, needs }
}

pub(crate) const ERRANDS: [Errand; 18] = [
    errand("bakery", ["buy bread", "buy a cake", "get fresh rolls"]),
    errand("library", ["borrow a book", "read the newspaper", "look at old maps"]),
    errand("hospital", ["see a doctor", "get some medicine", "visit a sick friend"]),
    errand("station", ["catch a train", "buy a ticket", "meet the evening train"]),
    errand("lake", ["swim", "row a boat", "go fishing"]),
    errand("church", ["pray", "hear the bells", "light a candle for the dead"]),
    errand("school", ["learn to read", "speak with the teacher", "sit in class"]),
    errand("mill", ["have the corn ground", "get a sack of flour", "see the millstones turn"]),
    errand("barn", ["milk the cows", "fetch some hay", "feed the calves"]),
    errand("post office", ["send a letter", "buy stamps", "pick up a parcel"]),
    errand("inn", ["drink a beer", "rent a bed for the night", "eat a hot supper"]),
    errand("market", ["buy fruit", "sell eggs", "look for cheap vegetables"]),
    errand("forge", ["have the horse shod", "order an iron gate", "watch the smith"]),
    errand("theatre", ["see a play", "listen to the singers", "act on the stage"]),
    errand("harbour", ["look at the ships", "sail to the islands", "wait for the ferry"]),
    errand("forest", ["pick mushrooms", "chop wood", "look for deer"]),
    errand("bank", ["save some money", "borrow money", "change some coins"]),
    errand("well", ["draw water", "fill the buckets", "cool the milk"]),
];
