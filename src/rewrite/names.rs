//! New names that collide with nothing, anywhere in the model.

use std::collections::{HashMap, HashSet};

use crate::ir::Model;

/// Every value name of a model, and the last number tried for each stem.
#[derive(Debug, Default)]
pub(crate) struct Names {
    taken: HashSet<String>,
    last: HashMap<String, usize>,
}

impl Names {
    /// The names of a model: its bodies and functions included, since a body may not shadow a name.
    pub(crate) fn of(model: &Model) -> Self {
        Self { taken: model.value_names(), last: HashMap::new() }
    }

    /// Frees the name of a value that is gone.
    pub(crate) fn release(&mut self, name: &str) {
        self.taken.remove(name);
    }

    /// The wished name if it is free, else the wished name with the next free number.
    pub(crate) fn fresh(&mut self, wish: &str) -> String {
        let wish = if wish.is_empty() { "value" } else { wish };
        if self.taken.insert(wish.to_owned()) {
            return wish.to_owned();
        }
        let count = self.last.entry(wish.to_owned()).or_insert(0);
        loop {
            *count += 1;
            let name = format!("{wish}_{count}");
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}
