//! The parts of a Markdown page that checks look at.

/// A page, split into its headings, links, code spans and code fences.
#[derive(Default)]
pub(super) struct Page {
    /// Anchors of the headings and of `<a id="…">` elements.
    pub anchors: Vec<String>,
    /// Line and text of each heading.
    pub headings: Vec<(usize, String)>,
    /// Line and target of each link.
    pub links: Vec<(usize, String)>,
    /// Line and content of each code span.
    pub spans: Vec<(usize, String)>,
    pub fences: Vec<Fence>,
}

/// A fenced block of code.
pub(super) struct Fence {
    pub language: String,
    /// Number of the first line within the fence.
    pub line: usize,
    pub lines: Vec<String>,
}

impl Page {
    pub(super) fn parse(source: &str) -> Self {
        let mut page = Self::default();
        let mut fence: Option<(&str, Fence)> = None;
        let mut paragraph = Vec::new();
        for (index, line) in source.lines().enumerate() {
            let trimmed = line.trim_start();
            let marker = ["```", "~~~"].into_iter().find(|marker| trimmed.starts_with(marker));
            match (&mut fence, marker) {
                (Some((open, _)), Some(marker)) if *open == marker => {
                    page.fences.extend(fence.take().map(|(_, fence)| fence));
                }
                (Some((_, open)), _) => open.lines.push(line.to_owned()),
                (None, Some(marker)) => {
                    page.add_paragraph(&std::mem::take(&mut paragraph));
                    let language = trimmed.trim_start_matches(['`', '~']).trim().to_owned();
                    fence = Some((marker, Fence { language, line: index + 2, lines: Vec::new() }));
                }
                (None, None) if trimmed.is_empty() => page.add_paragraph(&std::mem::take(&mut paragraph)),
                (None, None) => {
                    if trimmed.starts_with('#') {
                        page.add_heading(index + 1, trimmed.trim_start_matches('#').trim());
                    }
                    paragraph.push((index + 1, line));
                }
            }
        }
        page.add_paragraph(&paragraph);
        page
    }

    fn add_heading(&mut self, line: usize, text: &str) {
        let slug = slug(text);
        let earlier = self.anchors.iter().filter(|anchor| is_numbered(anchor, &slug)).count();
        self.anchors.push(if earlier == 0 { slug } else { format!("{slug}-{earlier}") });
        self.headings.push((line, text.to_owned()));
    }

    /// Collects the code spans and links of lines that no blank line separates.
    fn add_paragraph(&mut self, lines: &[(usize, &str)]) {
        let Some(&(first, _)) = lines.first() else { return };
        let text: Vec<char> =
            lines.iter().map(|(_, line)| *line).collect::<Vec<_>>().join("\n").chars().collect();
        let line_at = |at: usize| first + text[..at].iter().filter(|&&c| c == '\n').count();
        let find = |from: usize, pattern: &str| {
            let pattern: Vec<char> = pattern.chars().collect();
            (from..text.len()).find(|&at| text[at..].starts_with(&pattern))
        };
        let collect =
            |range: std::ops::Range<usize>| text[range].iter().collect::<String>().replace('\n', " ");
        let mut at = 0;
        while at < text.len() {
            if text[at] == '`' {
                let ticks = text[at..].iter().take_while(|&&c| c == '`').count();
                match find(at + ticks, &"`".repeat(ticks)) {
                    Some(end) => {
                        self.spans.push((line_at(at), collect(at + ticks..end).trim().to_owned()));
                        at = end + ticks;
                    }
                    None => at += ticks,
                }
            } else if text[at..].starts_with(&[']', '(']) {
                let end = find(at, ")").unwrap_or(text.len());
                let target = collect(at + 2..end);
                self.links
                    .push((line_at(at), target.split_whitespace().next().unwrap_or_default().to_owned()));
                at = end;
            } else {
                at += 1;
            }
        }
        for (number, line) in lines {
            if line.starts_with('[')
                && let Some((_, target)) = line.split_once("]: ")
            {
                self.links.push((*number, target.trim().to_owned()));
            }
            for id in line.split("<a id=\"").skip(1) {
                self.anchors.extend(id.split_once('"').map(|(id, _)| id.to_owned()));
            }
        }
    }
}

/// Whether an anchor is `slug` or `slug-N`.
fn is_numbered(anchor: &str, slug: &str) -> bool {
    anchor == slug
        || anchor
            .strip_prefix(slug)
            .is_some_and(|rest| rest.starts_with('-') && rest[1..].parse::<u32>().is_ok())
}

/// The anchor that GitHub gives a heading.
fn slug(heading: &str) -> String {
    let mut text = String::new();
    // Of a link, only the text counts.
    let mut rest = heading;
    while let Some(start) = rest.find("](") {
        text.push_str(&rest[..start]);
        rest = rest[start..].split_once(')').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text.to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_become_anchors_as_on_github() {
        let page = Page::parse("# The `data` section: a, b\n## More\n\n## More\n\n```\n# no heading\n```\n");
        assert_eq!(page.anchors, ["the-data-section-a-b", "more", "more-1"]);
    }

    #[test]
    fn links_and_spans_may_cross_lines() {
        let page = Page::parse("See [a\nb](x.md#y), `run\nall` and ``a ` b``.\n\n[r]: z.md\n");
        assert_eq!(
            page.links,
            [(2, "x.md#y".to_owned()), (5, "z.md".to_owned())].into_iter().collect::<Vec<_>>()
        );
        assert_eq!(page.spans, [(2, "run all".to_owned()), (3, "a ` b".to_owned())]);
    }

    #[test]
    fn fences_keep_their_language_and_line() {
        let page = Page::parse("text\n\n```toml\n[data]\nx = 1\n```\n`span`\n");
        assert_eq!((page.fences[0].language.as_str(), page.fences[0].line), ("toml", 4));
        assert_eq!(page.fences[0].lines, ["[data]", "x = 1"]);
        assert_eq!(page.spans.len(), 1);
    }
}
