//! Sums with the additions of one fixed binary tree.

/// The sum of the leaves `start..start + 2^level`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TreeNode<T> {
    pub(crate) start: usize,
    pub(crate) level: u32,
    pub(crate) sum: T,
}

impl<T> TreeNode<T> {
    pub(crate) fn leaf(start: usize, value: T) -> Self {
        Self { start, level: 0, sum: value }
    }

    /// Returns whether `right` covers the other half of the node above this one.
    fn is_left_of(&self, right: &Self) -> bool {
        let width = 1 << self.level;
        self.level == right.level && self.start.is_multiple_of(2 * width) && right.start == self.start + width
    }
}

/// A sum with the additions of one binary tree over numbered leaves, however the leaves are distributed.
///
/// Two nodes are added as soon as they are the halves of a node above them. A holder of the leaves `[a, b)`
/// adds only nodes within that range, so combining such partial sums gives the same bits as adding all leaves
/// in one place.
pub(crate) struct TreeSum<T, Add> {
    /// Ordered by leaves.
    nodes: Vec<TreeNode<T>>,
    add: Add,
}

impl<T, Add: FnMut(T, T) -> T> TreeSum<T, Add> {
    pub(crate) fn new(add: Add) -> Self {
        Self { nodes: Vec::new(), add }
    }

    /// Adds a node. Nodes must be added in the order of their leaves.
    pub(crate) fn push(&mut self, mut node: TreeNode<T>) {
        while let Some(left) = self.nodes.pop_if(|left| left.is_left_of(&node)) {
            node = TreeNode { start: left.start, level: left.level + 1, sum: (self.add)(left.sum, node.sum) };
        }
        self.nodes.push(node);
    }

    /// Returns the partial sums: the fewest nodes of the tree that cover the leaves added so far.
    pub(crate) fn into_nodes(self) -> Vec<TreeNode<T>> {
        self.nodes
    }

    /// Returns the sum of all leaves, or `None` if there are none. If their number is not a power of two, the
    /// remaining nodes are added from the last one on.
    pub(crate) fn finish(self) -> Option<T> {
        let Self { nodes, mut add } = self;
        nodes.into_iter().map(|node| node.sum).rev().reduce(|right, left| add(left, right))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum_in_parts(values: &[f32], cuts: &[usize]) -> Option<f32> {
        let mut whole = TreeSum::new(|a: f32, b: f32| a + b);
        let bounds = [&[0], cuts, &[values.len()]].concat();
        for pair in bounds.windows(2) {
            let mut part = TreeSum::new(|a: f32, b: f32| a + b);
            (pair[0]..pair[1]).for_each(|at| part.push(TreeNode::leaf(at, values[at])));
            part.into_nodes().into_iter().for_each(|node| whole.push(node));
        }
        whole.finish()
    }

    proptest! {
        #[test]
        fn partial_sums_do_not_change_a_bit(
            values in proptest::collection::vec(-1e3_f32..1e3, 1..70),
            cuts in proptest::collection::vec(0_usize..70, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(values.len())).collect();
            cuts.sort_unstable();
            let whole = sum_in_parts(&values, &[]).unwrap();
            prop_assert_eq!(sum_in_parts(&values, &cuts).unwrap().to_bits(), whole.to_bits());
            let exact: f64 = values.iter().copied().map(f64::from).sum();
            prop_assert!((f64::from(whole) - exact).abs() < 0.02);
        }
    }

    #[test]
    fn additions_are_those_of_the_tree() {
        let mut sum = TreeSum::new(|a: String, b: String| format!("({a}+{b})"));
        (0..7).for_each(|at| sum.push(TreeNode::leaf(at, at.to_string())));
        assert_eq!(sum.finish().unwrap(), "(((0+1)+(2+3))+((4+5)+6))");
        assert_eq!(TreeSum::new(|a: u8, b: u8| a + b).finish(), None);
    }
}
