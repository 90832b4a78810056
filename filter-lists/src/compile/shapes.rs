//! The distinct shapes of rules, by number.

use rustc_hash::FxHashMap;

use crate::rule::{Rule, Shape};

/// The distinct shapes of a list, numbered in order of appearance.
#[derive(Clone, Debug, Default)]
pub(super) struct Shapes {
    shapes: Vec<Shape>,
    last: usize,
    by_content: FxHashMap<String, u32>,
}

/// So many shapes are compared one by one before the map is asked.
const COMPARED: usize = 8;

impl Shapes {
    /// The number of the rule's shape.
    pub(super) fn intern(&mut self, rule: &Rule) -> u32 {
        if self.shapes.get(self.last).is_some_and(|s| *s == rule.shape) {
            return self.last as u32;
        }
        let head = &self.shapes[..self.shapes.len().min(COMPARED)];
        self.last = match head.iter().position(|s| *s == rule.shape) {
            Some(known) => known,
            None => self.intern_shape(rule.shape.clone()) as usize,
        };
        self.last as u32
    }

    /// The number of the shape.
    pub(super) fn intern_shape(&mut self, shape: Shape) -> u32 {
        let next = self.shapes.len() as u32;
        let number = *self.by_content.entry(format!("{shape:?}")).or_insert(next);
        if number == next {
            self.shapes.push(shape);
        }
        number
    }

    pub(super) fn as_slice(&self) -> &[Shape] {
        &self.shapes
    }

    pub(super) fn into_vec(self) -> Vec<Shape> {
        self.shapes
    }
}
