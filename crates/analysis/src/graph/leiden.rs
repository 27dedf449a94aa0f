//! The search for a partition of large modularity: Leiden and Louvain on one weighted graph.
//!
//! A level: nodes move to the community that gains most (fast local moving: a queue of nodes whose surroundings
//! changed); each community is refined, that is cut into parts that hang together; the parts become the nodes of the next
//! level, where they start in their communities. It ends when no community has two nodes. Refinement merges a single
//! node with the part that gains most, as leidenalg does, instead of drawing among those that gain. Louvain is the same
//! without refinement. Source: Traag, Waltman & van Eck, *Sci Rep* 2019, doi:10.1038/s41598-019-41695-z (algorithm A.2).
//!
//! Our own, because the clusterings that metrics look through are a fifth of all their time even so: the `leiden-rs` crate
//! finds partitions as good, but clears arrays as long as the graph for each community it refines.
//!
//! With k the degree of a node, K that of a community and w(v, C) the weight between them, moving v into C (v not
//! counted in K) gains w(v, C) − γ k K / 2m, up to a factor.

use scgraft_cells::Csr;
use scgraft_numeric::random::Random;

/// What a move must gain, relative to the mean degree: less is rounding.
const LEAST_GAIN: f64 = 1e-12;

/// A weighted graph without loops: node `v` has the edges `starts[v]..starts[v + 1]`, each edge is stored at both ends.
pub(crate) struct Network {
    starts: Vec<usize>,
    targets: Vec<u32>,
    weights: Vec<f64>,
    /// Weight of all edges of a node, those inside it (twice) included.
    degrees: Vec<f64>,
    /// 2m: the sum of the degrees.
    total: f64,
}

impl Network {
    /// The graph with its nodes in another order: `order[v]` is the cell that node v stands for, `number` its inverse.
    /// Loops are left out.
    pub fn of(graph: &Csr, order: &[u32], number: &[u32]) -> Network {
        let mut edges = Edges::with_capacity(graph.n_rows, graph.nnz());
        for (v, &cell) in order.iter().enumerate() {
            let (others, weights) = graph.row(cell as usize);
            for (&other, &w) in others.iter().zip(weights) {
                let other = number[other as usize];
                if other as usize != v && w > 0.0 {
                    edges.targets.push(other);
                    edges.weights.push(f64::from(w));
                }
            }
            edges.starts.push(edges.targets.len());
        }
        let degrees = edges.starts.windows(2).map(|s| edges.weights[s[0]..s[1]].iter().sum()).collect();
        Network::new(edges, degrees)
    }

    fn new(Edges { starts, targets, weights }: Edges, degrees: Vec<f64>) -> Network {
        Network { starts, targets, weights, total: degrees.iter().sum(), degrees }
    }

    fn len(&self) -> usize {
        self.degrees.len()
    }

    fn edges(&self, v: usize) -> impl Iterator<Item = (usize, f64)> {
        let span = self.starts[v]..self.starts[v + 1];
        self.targets[span.clone()].iter().map(|&t| t as usize).zip(self.weights[span].iter().copied())
    }

    /// One node for each part; `parts` are numbered without gaps.
    fn merged(&self, parts: &[u32], n: usize, scratch: &mut Scratch) -> Network {
        let (begins, members) = listed(parts, n);
        let mut edges = Edges::with_capacity(n, 0);
        let mut degrees = vec![0f64; n];
        for part in 0..n {
            for &v in &members[begins[part]..begins[part + 1]] {
                degrees[part] += self.degrees[v as usize];
                scratch.add(self.edges(v as usize), |u| Some(parts[u]));
            }
            for &other in scratch.met.iter().filter(|&&other| other as usize != part) {
                edges.targets.push(other);
                edges.weights.push(scratch.weight[other as usize]);
            }
            scratch.clear();
            edges.starts.push(edges.targets.len());
        }
        Network::new(edges, degrees)
    }
}

struct Edges {
    starts: Vec<usize>,
    targets: Vec<u32>,
    weights: Vec<f64>,
}

impl Edges {
    fn with_capacity(nodes: usize, edges: usize) -> Edges {
        let mut starts = Vec::with_capacity(nodes + 1);
        starts.push(0);
        Edges { starts, targets: Vec::with_capacity(edges), weights: Vec::with_capacity(edges) }
    }
}

/// Weights between one node and the communities around it.
struct Scratch {
    weight: Vec<f64>,
    met: Vec<u32>,
}

impl Scratch {
    fn add(&mut self, edges: impl Iterator<Item = (usize, f64)>, community: impl Fn(usize) -> Option<u32>) {
        for (u, w) in edges {
            let Some(c) = community(u) else { continue };
            let slot = &mut self.weight[c as usize];
            if *slot == 0.0 {
                self.met.push(c);
            }
            *slot += w;
        }
    }

    fn clear(&mut self) {
        self.met.drain(..).for_each(|c| self.weight[c as usize] = 0.0);
    }
}

/// The search on one network.
pub(crate) struct Search<'a> {
    pub network: &'a Network,
    pub resolution: f64,
    /// Without, it is Louvain.
    pub refine: bool,
    pub seed: u64,
}

impl Search<'_> {
    /// The community of each node after some passes, each of which starts from the one before; numbered without gaps.
    pub fn run(&self, passes: usize) -> Vec<u32> {
        let n = self.network.len();
        let mut found: Vec<u32> = (0..n as u32).collect();
        for pass in 0..passes {
            let mut stream = Random::half_open(self.seed, pass as u64);
            let before = found.clone();
            self.pass(&mut found, &mut stream);
            if found == before {
                break;
            }
        }
        found
    }

    /// All levels, from the communities given to better ones.
    fn pass(&self, communities: &mut [u32], stream: &mut Random) {
        let n = self.network.len();
        let mut scratch = Scratch { weight: vec![0.0; n], met: Vec::new() };
        let mut level: Option<Network> = None;
        // The node of the present level that each node of the network is in.
        let mut place: Vec<u32> = (0..n as u32).collect();
        let mut own = communities.to_vec();
        loop {
            let network = level.as_ref().unwrap_or(self.network);
            self.move_nodes(network, &mut own, &mut scratch, stream);
            let n_communities = renumber(&mut own);
            let (parts, n_parts) = if self.refine {
                self.parts(network, &own, n_communities, &mut scratch, stream)
            } else {
                (own.clone(), n_communities)
            };
            communities.iter_mut().zip(&place).for_each(|(c, &v)| *c = own[v as usize]);
            // No two nodes are in one community, or the next level would be this one again.
            if n_communities == network.len() || n_parts == network.len() {
                return;
            }
            let next = network.merged(&parts, n_parts, &mut scratch);
            let mut communities_of_parts = vec![0u32; n_parts];
            parts.iter().zip(&own).for_each(|(&p, &c)| communities_of_parts[p as usize] = c);
            place.iter_mut().for_each(|v| *v = parts[*v as usize]);
            own = communities_of_parts;
            level = Some(next);
        }
    }

    /// Fast local moving.
    fn move_nodes(&self, network: &Network, own: &mut [u32], scratch: &mut Scratch, stream: &mut Random) {
        let n = network.len();
        let rate = self.rate(network);
        let least = LEAST_GAIN * network.total / n as f64;
        let mut degrees = vec![0f64; n];
        let mut sizes = vec![0u32; n];
        own.iter().zip(&network.degrees).for_each(|(&c, &k)| {
            degrees[c as usize] += k;
            sizes[c as usize] += 1;
        });
        let mut empty: Vec<u32> = (0..n as u32).filter(|&c| sizes[c as usize] == 0).collect();
        let mut queue: std::collections::VecDeque<u32> = shuffled(n, stream).into();
        let mut queued = vec![true; n];
        while let Some(v) = queue.pop_front() {
            let v = v as usize;
            queued[v] = false;
            let (from, k) = (own[v], network.degrees[v]);
            scratch.add(network.edges(v), |u| Some(own[u]));
            degrees[from as usize] -= k;
            let gain = |c: u32| scratch.weight[c as usize] - rate * k * degrees[c as usize];
            let (mut to, mut best) = (from, gain(from) + least);
            for &c in &scratch.met {
                let gain = gain(c);
                if gain > best {
                    (to, best) = (c, gain);
                }
            }
            // A community of its own gains nothing and costs nothing.
            if best < 0.0 && sizes[from as usize] > 1 {
                to = empty.last().copied().unwrap_or(from);
            }
            scratch.clear();
            degrees[to as usize] += k;
            if to == from {
                continue;
            }
            if sizes[to as usize] == 0 {
                empty.pop();
            }
            own[v] = to;
            sizes[to as usize] += 1;
            sizes[from as usize] -= 1;
            if sizes[from as usize] == 0 {
                empty.push(from);
            }
            for (u, _) in network.edges(v) {
                if own[u] != to && !queued[u] {
                    queued[u] = true;
                    queue.push_back(u as u32);
                }
            }
        }
    }

    /// Parts of the communities, numbered without gaps, and their number. A part is made of nodes that were each, and of
    /// parts that are, well connected with the rest of their community: w(S, C − S) ≥ γ K_S (K_C − K_S) / 2m.
    fn parts(
        &self,
        network: &Network,
        own: &[u32],
        n_communities: usize,
        scratch: &mut Scratch,
        stream: &mut Random,
    ) -> (Vec<u32>, usize) {
        let n = network.len();
        let rate = self.rate(network);
        let mut parts: Vec<u32> = (0..n as u32).collect();
        let mut degrees = network.degrees.clone();
        let mut single = vec![true; n];
        let mut whole = vec![0f64; n_communities];
        own.iter().zip(&network.degrees).for_each(|(&c, &k)| whole[c as usize] += k);
        // Weight of each part with the rest of its community.
        let mut outside: Vec<f64> =
            (0..n).map(|v| network.edges(v).filter(|&(u, _)| own[u] == own[v]).map(|(_, w)| w).sum()).collect();
        let connected = |outside: f64, degree: f64, all: f64| outside >= rate * degree * (all - degree);
        for v in shuffled(n, stream) {
            let v = v as usize;
            let (k, all) = (network.degrees[v], whole[own[v] as usize]);
            if !single[v] || !connected(outside[v], k, all) {
                continue;
            }
            scratch.add(network.edges(v), |u| (own[u] == own[v]).then(|| parts[u]));
            let (mut to, mut best) = (v as u32, 0.0);
            for &part in &scratch.met {
                let at = part as usize;
                let gain = scratch.weight[at] - rate * k * degrees[at];
                if gain > best && connected(outside[at], degrees[at], all) {
                    (to, best) = (part, gain);
                }
            }
            let at = to as usize;
            if at != v {
                parts[v] = to;
                degrees[at] += k;
                outside[at] += outside[v] - 2.0 * scratch.weight[at];
                (single[v], single[at]) = (false, false);
            }
            scratch.clear();
        }
        let n_parts = renumber(&mut parts);
        (parts, n_parts)
    }

    /// γ / 2m.
    fn rate(&self, network: &Network) -> f64 {
        if network.total > 0.0 { self.resolution / network.total } else { 0.0 }
    }
}

/// Nodes by community: where each community's begin, and the nodes.
fn listed(communities: &[u32], n: usize) -> (Vec<usize>, Vec<u32>) {
    let mut begins = vec![0usize; n + 1];
    communities.iter().for_each(|&c| begins[c as usize + 1] += 1);
    (0..n).for_each(|c| begins[c + 1] += begins[c]);
    let mut at = begins.clone();
    let mut members = vec![0u32; communities.len()];
    for (v, &c) in communities.iter().enumerate() {
        members[at[c as usize]] = v as u32;
        at[c as usize] += 1;
    }
    (begins, members)
}

/// Numbers communities without gaps, in the order of their first nodes; returns how many there are.
fn renumber(communities: &mut [u32]) -> usize {
    let mut new = vec![u32::MAX; communities.len()];
    let mut n = 0u32;
    for c in communities {
        let name = &mut new[*c as usize];
        if *name == u32::MAX {
            *name = n;
            n += 1;
        }
        *c = *name;
    }
    n as usize
}

/// 0 … n − 1 in random order.
fn shuffled(n: usize, stream: &mut Random) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    stream.shuffle(&mut order);
    order
}
