//! RFC 6962 hashing: leaves, nodes, and the right edge of a growing tree.
use sha2::{Digest, Sha256};

/// A SHA-256 hash of a leaf or of a subtree.
pub type Hash = [u8; 32];

/// Hash of a leaf: SHA-256 of a zero byte and the leaf (RFC 6962, section 2.1).
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new()
        .chain_update([0])
        .chain_update(leaf)
        .finalize()
        .into()
}

/// Hash of a node: SHA-256 of a one byte and both children.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// The right edge of a tree: one hash per set bit of its size, largest subtree first.
///
/// It is all that is needed to append a leaf and to know the root, at 32 bytes per set bit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    edge: Vec<Hash>,
}

impl Frontier {
    /// An edge as it was stored; none if the number of hashes does not fit the size.
    pub fn from_parts(size: u64, edge: Vec<Hash>) -> Option<Frontier> {
        (edge.len() == size.count_ones() as usize).then_some(Frontier { size, edge })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The stored hashes, largest subtree first.
    pub fn edge(&self) -> &[Hash] {
        &self.edge
    }

    /// Appends one leaf by its hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.edge.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.edge.push(hash);
        self.size += 1;
    }

    /// The tree's root; the hash of nothing for an empty tree.
    pub fn root(&self) -> Hash {
        let mut hashes = self.edge.iter().rev();
        match hashes.next() {
            None => Sha256::digest([]).into(),
            Some(last) => hashes.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962 taken literally, as an independent check.
    fn reference(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [one] => *one,
            many => {
                let split = many.len().next_power_of_two() / 2;
                let (left, right) = many.split_at(split);
                node_hash(&reference(left), &reference(right))
            }
        }
    }

    #[test]
    fn the_edge_gives_the_root_of_the_definition() {
        let leaves: Vec<Hash> = (0..200u8).map(|i| leaf_hash(&[i])).collect();
        let mut edge = Frontier::default();
        for (i, leaf) in leaves.iter().enumerate() {
            assert_eq!(edge.root(), reference(&leaves[..i]));
            edge.push(*leaf);
        }
        assert_eq!(edge.root(), reference(&leaves));
        assert!(Frontier::from_parts(3, vec![[0; 32]]).is_none());
    }

    /// The inputs and roots of certificate-transparency's own tests of RFC 6962.
    #[test]
    fn published_roots_come_out() {
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut edge = Frontier::default();
        for (size, root) in roots.into_iter().enumerate() {
            let hex: String = edge.root().iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hex, root, "size {size}");
            if let Some(leaf) = leaves.get(size) {
                edge.push(leaf_hash(leaf));
            }
        }
    }
}
