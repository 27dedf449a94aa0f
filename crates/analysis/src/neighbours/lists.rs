//! The reference in lists of near rows, an inverted file: what both searches look through.
//!
//! Each list has a centre (k-means; Sivic & Zisserman 2003, doi:10.1109/ICCV.2003.1238663; Jégou et al. 2011,
//! doi:10.1109/TPAMI.2010.57) and a radius ρ, the largest distance of its rows from it. A query q meets the lists in
//! order of |q − c|, so that its k nearest so far soon are near, and skips every list with |q − c| − ρ larger than its
//! k-th distance: by the triangle inequality no row of it is nearer. Skipping changes no result; only a limit on the
//! number of lists makes the search approximate.

use rayon::prelude::*;
use scgraft_cells::{Dense, Steps};
use scgraft_numeric::gemm::{Accum, MatMut, MatRef, matmul};
use scgraft_numeric::isa::kernel;
use scgraft_numeric::random::{mix, sample};

use super::layout::{Numbered, Panels, Placed};
use super::scan::{QUERIES, Tile, look_through};
use super::{Neighbours, Place};

/// Rounds of k-means, and rows a list on which it runs: the lists need not be perfect.
const ROUNDS: usize = 8;
const TRAINING_ROWS: usize = 128;
/// Rows that are compared with all centres at a time.
const BLOCK: usize = 256;
/// Tiles that meet the lists together: a panel is read once for all of them.
const TILES: usize = 8;

/// Rows a neighbour that a first look at the nearest lists takes in.
const FIRST: usize = 8;

/// What stands where no neighbour was found.
pub(super) const NONE: u32 = u32::MAX;

/// Rows around a centre.
struct List {
    panels: Panels,
    radius: f32,
}

/// Centres of lists, [list × width]: −|c|²/2 stands last.
struct Centres {
    values: Vec<f32>,
    width: usize,
}

pub(super) struct Lists {
    centres: Centres,
    lists: Vec<List>,
    reference: Numbered,
}

impl Lists {
    /// Splits the reference (the matrix, and the same placed) into about `n` lists.
    pub fn build((values, reference): (&Dense, &Placed), n: usize, seed: u64) -> Self {
        let n_rows = reference.squared.len();
        let training = sample(mix(seed, 2), n * TRAINING_ROWS, n_rows);
        let mut centres = Centres::at(reference, sample(mix(seed, 3), n, training.len()).iter().map(|&i| training[i]));
        if n > 1 {
            for _ in 0..ROUNDS {
                centres.settle(reference, &training);
            }
        }
        let all: Vec<usize> = (0..n_rows).collect();
        let mut members = vec![Vec::new(); n];
        for (row, &[list, _]) in centres.nearest(reference, &all).iter().enumerate() {
            members[list as usize].push(row as u32);
        }
        let mut first = 0;
        let numbered = members.iter().map(|rows| {
            first += rows.len();
            (first - rows.len()) as u32
        });
        let numbered: Vec<u32> = numbered.collect();
        let lists = members.par_iter().zip(numbered).enumerate().map(|(list, (rows, first))| {
            let far = |&row: &u32| {
                let row = reference.row(row as usize).iter().zip(centres.row(list));
                row.map(|(&v, &c)| (f64::from(v) - f64::from(c)).powi(2)).sum::<f64>()
            };
            let radius = rows.iter().map(far).fold(0.0, f64::max).sqrt();
            // Rounded up.
            List { panels: Panels::new(reference, rows, first), radius: (radius * (1.0 + 1e-6)) as f32 }
        });
        let lists = lists.collect();
        let rows = members.concat();
        Lists { lists, centres, reference: Numbered::new(values, rows) }
    }

    /// Number of lists.
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// All rows of `query`, those together that have the same two nearest centres: they want the same lists.
    pub fn order(&self, query: &Placed) -> Vec<usize> {
        let mut order: Vec<usize> = (0..query.squared.len()).collect();
        let homes = self.centres.nearest(query, &order);
        order.par_sort_by_key(|&row| homes[row]);
        order
    }

    /// The `k` nearest rows of the reference for each of these rows of `query`, in the `probes` lists that are nearest.
    pub fn search(&self, query: (&Dense, &Placed), rows: &[usize], k: usize, own: bool, probes: usize) -> Neighbours {
        let mut out = Neighbours::room(rows.len(), k);
        let places = out.places(0..rows.len());
        self.search_into(query, rows, places, own, probes);
        out
    }

    /// Writes the nearest rows of the reference, in the `probes` lists that are nearest, for each of these rows of `query`
    /// to its place: as many as it has room for.
    ///
    /// `query` is the matrix and the same placed; `rows` are taken together [`QUERIES`] at a time. With `own`, the query is
    /// the reference itself, and no row finds itself. Where too few rows were met, [`NONE`] fills up.
    pub fn search_into(
        &self,
        query: (&Dense, &Placed),
        rows: &[usize],
        mut places: Vec<Place>,
        own: bool,
        probes: usize,
    ) {
        let Some(k) = places.first().map(|place| place.0.len()) else { return };
        let mut numbers = vec![NONE; query.0.n_rows];
        if own {
            self.reference.rows.iter().zip(0..).for_each(|(&row, number)| numbers[row as usize] = number);
        }
        let group = TILES * QUERIES;
        let steps = Steps::new("looking for neighbours", rows.len().div_ceil(group));
        rows.par_chunks(group).zip(places.par_chunks_mut(group)).for_each(|(rows, places)| {
            let rows: Vec<(usize, u32)> = rows.iter().map(|&row| (row, numbers[row])).collect();
            let mut tiles: Vec<Tile> =
                rows.chunks(QUERIES).map(|rows| Tile::new(&self.reference, query, rows, k)).collect();
            self.meet(query.1, &rows, k, probes, &mut tiles);
            let mut places = places.iter_mut();
            for tile in tiles {
                tile.finish(|nearest| {
                    let Some((indices, distances)) = places.next() else { return };
                    indices[nearest.len()..].fill(NONE);
                    distances[nearest.len()..].fill(f32::INFINITY);
                    for ((index, distance), &(squared, row)) in
                        indices.iter_mut().zip(distances.iter_mut()).zip(nearest)
                    {
                        (*index, *distance) = (row, squared.sqrt() as f32);
                    }
                });
            }
            steps.done();
        });
    }

    /// Looks through the lists that the tiles of a group of queries want, nearest first.
    fn meet(&self, query: &Placed, rows: &[(usize, u32)], k: usize, probes: usize, tiles: &mut [Tile]) {
        let rows: Vec<usize> = rows.iter().map(|row| row.0).collect();
        // Of each list: squared distances of the queries to its centre, tile by tile, and of each tile the least of them.
        let mut away = vec![[[f32::INFINITY; QUERIES]; TILES]; self.len()];
        let mut least = vec![[f32::INFINITY; TILES]; self.len()];
        let squared: Vec<f32> = rows.iter().map(|&row| query.squared[row]).collect();
        distances(&self.centres.products(query, &rows), &squared, &mut away, &mut least);
        // A tile wants no list farther than the last of its probes.
        let mut farthest = [f32::INFINITY; TILES];
        if probes < self.len() {
            for (tile, farthest) in farthest.iter_mut().enumerate().take(tiles.len()) {
                let mut nearest: Vec<f32> = least.iter().map(|l| l[tile]).collect();
                *farthest = *nearest.select_nth_unstable_by(probes - 1, f32::total_cmp).1;
            }
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        let nearest = |list: usize| least[list].iter().copied().fold(f32::INFINITY, f32::min);
        order.sort_by_cached_key(|&list| nearest(list).to_bits());
        // A first look at the nearest of them, so that little is kept that must be dropped again.
        for (number, tile) in tiles.iter_mut().enumerate() {
            let (mut first, mut n) = (Vec::new(), 0);
            for &list in order.iter().filter(|&&list| least[list][number] <= farthest[number]) {
                if n >= FIRST * k {
                    break;
                }
                first.push(&self.lists[list].panels);
                n += self.lists[list].panels.n_rows();
            }
            tile.raise(&first);
        }
        for list in order {
            let (List { panels, radius }, away) = (&self.lists[list], &away[list]);
            let wants = |&(number, ref tile): &(usize, &mut Tile)| {
                least[list][number] <= farthest[number] && !tile.excludes(&away[number], *radius)
            };
            let mut wanting: Vec<&mut Tile> =
                tiles.iter_mut().enumerate().filter(wants).map(|(_, tile)| tile).collect();
            look_through(panels, &mut wanting);
        }
    }
}

kernel! {
    /// Squared distances from products with centres, those of one centre together, and the least of each tile.
    fn distances(
        s,
        products: &[f32],
        squared: &[f32],
        away: &mut [[[f32; QUERIES]; TILES]],
        least: &mut [[f32; TILES]],
    ) {
        for ((products, away), least) in products.chunks_exact(squared.len()).zip(away).zip(least) {
            for ((away, &s), &squared) in away.as_flattened_mut().iter_mut().zip(products).zip(squared) {
                let distance = squared - 2.0 * s;
                *away = if distance > 0.0 { distance } else { 0.0 };
            }
            for (away, least) in away.iter().zip(least) {
                for &a in away {
                    *least = if a < *least { a } else { *least };
                }
            }
        }
    }
}

impl Centres {
    /// At these rows of the reference.
    fn at(reference: &Placed, rows: impl Iterator<Item = usize>) -> Self {
        let mut out = Centres { values: Vec::new(), width: reference.width };
        for row in rows {
            out.values.extend_from_slice(reference.row(row));
            out.values.push(-0.5 * reference.squared[row]);
        }
        out
    }

    fn len(&self) -> usize {
        self.values.len() / self.width
    }

    fn row(&self, list: usize) -> &[f32] {
        &self.values[list * self.width..(list + 1) * self.width - 1]
    }

    /// Puts each centre in the middle of the rows nearest to it; one without rows stays where it is.
    fn settle(&mut self, reference: &Placed, training: &[usize]) {
        let d = self.width - 1;
        let mut sums = vec![0f64; self.len() * d];
        let mut counts = vec![0usize; self.len()];
        for (&row, &[list, _]) in training.iter().zip(&self.nearest(reference, training)) {
            counts[list as usize] += 1;
            let sum = &mut sums[list as usize * d..][..d];
            sum.iter_mut().zip(reference.row(row)).for_each(|(s, &v)| *s += f64::from(v));
        }
        for ((centre, sum), &count) in self.values.chunks_exact_mut(d + 1).zip(sums.chunks_exact(d)).zip(&counts) {
            if count > 0 {
                let mut squared = 0f64;
                for (c, s) in centre.iter_mut().zip(sum) {
                    *c = (s / count as f64) as f32;
                    squared += f64::from(*c).powi(2);
                }
                centre[d] = (-0.5 * squared) as f32;
            }
        }
    }

    /// c·x − |c|²/2 of every centre c with each of these rows x, those of one centre together.
    fn products(&self, placed: &Placed, rows: &[usize]) -> Vec<f32> {
        let mut gathered = Vec::with_capacity(rows.len() * self.width);
        for &row in rows {
            gathered.extend_from_slice(&placed.values[row * self.width..(row + 1) * self.width]);
        }
        let mut out = vec![0f32; self.len() * rows.len()];
        matmul(
            MatMut::from_row_major_slice_mut(&mut out, self.len(), rows.len()),
            Accum::Replace,
            MatRef::from_row_major_slice(&self.values, self.len(), self.width),
            MatRef::from_column_major_slice(&gathered, self.width, rows.len()),
            1f32,
        );
        out
    }

    /// The two nearest centres of each of these rows, to within rounding (the same twice if there is but one).
    fn nearest(&self, placed: &Placed, rows: &[usize]) -> Vec<[u32; 2]> {
        let mut out = vec![[0u32; 2]; rows.len()];
        if self.len() > 1 {
            out.par_chunks_mut(BLOCK).zip(rows.par_chunks(BLOCK)).for_each(|(out, rows)| {
                largest(&self.products(placed, rows), out);
            });
        }
        out
    }
}

kernel! {
    /// In which rows of `values`, as wide as `out`, the largest two of each column stand.
    fn largest(s, values: &[f32], out: &mut [[u32; 2]]) {
        let mut best = vec![f32::NEG_INFINITY; out.len()];
        let mut next = best.clone();
        let (mut first, mut second) = (vec![0u32; out.len()], vec![0u32; out.len()]);
        for (number, row) in values.chunks_exact(out.len()).enumerate() {
            let number = number as u32;
            let places = best.iter_mut().zip(&mut next).zip(first.iter_mut().zip(&mut second));
            for (&v, ((best, next), (first, second))) in row.iter().zip(places) {
                let (better, good) = (v > *best, v > *next);
                *second = if better { *first } else if good { number } else { *second };
                *next = if better { *best } else if good { v } else { *next };
                *first = if better { number } else { *first };
                *best = if better { v } else { *best };
            }
        }
        for (out, (&first, &second)) in out.iter_mut().zip(first.iter().zip(&second)) {
            *out = [first, second];
        }
    }
}
