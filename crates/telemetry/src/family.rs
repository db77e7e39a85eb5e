use std::fmt::Write;

/// One metric with all its samples, as they are at the moment of a scrape.
///
/// For what comes and goes, such as the ranges a host owns: a sample that is not given is not there any more, and how many
/// there are is bounded where they are made.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: FamilyKind,
    pub samples: Vec<Sample>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// It only grows.
    Counter,
    Gauge,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

impl Family {
    /// In Prometheus' text format; nothing where there is no sample.
    pub(crate) fn render(&self, text: &mut String) {
        if self.samples.is_empty() {
            return;
        }
        let Self { name, help, kind, samples } = self;
        let kind = match kind {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
        };
        // Writing into a string never fails.
        let _written = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for Sample { labels, value } in samples {
            text.push_str(name);
            for (index, (label, of)) in labels.iter().enumerate() {
                let opening = if index == 0 { '{' } else { ',' };
                let _written = write!(text, "{opening}{label}=\"{}\"", escaped(of));
            }
            if !labels.is_empty() {
                text.push('}');
            }
            let _written = writeln!(text, " {value}");
        }
        text.push('\n');
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let sample = |labels: &[(&'static str, &str)], value| Sample {
            labels: labels.iter().map(|(label, of)| (*label, (*of).to_owned())).collect(),
            value,
        };
        let samples = vec![sample(&[("range", "-FF"), ("odd", "a\"b\\c\nd")], 1.5), sample(&[], 3.0)];
        let family = Family { name: "lag", help: "How far behind", kind: FamilyKind::Gauge, samples };
        let mut text = String::new();
        family.render(&mut text);
        let expected = "# HELP lag How far behind\n# TYPE lag gauge\n\
            lag{range=\"-FF\",odd=\"a\\\"b\\\\c\\nd\"} 1.5\nlag 3\n\n";
        assert_eq!(text, expected);
        let mut nothing = String::new();
        Family { samples: Vec::new(), ..family }.render(&mut nothing);
        assert_eq!(nothing, "");
    }
}
