//! Items as token ids, split into context and continuation exactly as in lm-evaluation-harness
//! (`TemplateLM._encode_pair`, `TemplateLM.loglikelihood`, `HFLM._loglikelihood_tokens`,
//! `utils.get_rolling_token_windows`; version 0.4.13).

use fineline_data::Tokenizer;

use crate::requests::request::{Continuation, ItemRequests, Request};
use crate::tasks::item::Item;
use crate::tasks::kind::TaskKind;
use crate::text::whitespace::is_python_space;

/// Context tokens and the tokens to score after them. Both together fit the model's context length.
struct EncodedPair {
    context: Vec<u32>,
    tokens: Vec<u32>,
    /// Whether the context was truncated on the left.
    is_cut: bool,
}

/// Encodes a text without special tokens. On failure, the reason.
type EncodeText<'a> = dyn Fn(&str) -> Result<Vec<u32>, String> + Sync + 'a;

/// Tokenizes items into requests.
pub(crate) struct RequestEncoder<'a> {
    encode: Box<EncodeText<'a>>,
    /// Token put before every text.
    bos: Option<u32>,
    /// Token that replaces an empty context.
    prefix: Option<u32>,
    /// Context length of the model, in tokens.
    pub(super) max_len: usize,
    /// Separator between a context and what is scored after it.
    delimiter: String,
}

impl<'a> RequestEncoder<'a> {
    /// Texts begin with BOS if the tokenizer's documents do.
    pub(crate) fn new(tokenizer: &'a Tokenizer, max_len: usize, delimiter: &str) -> Self {
        Self {
            encode: Box::new(|text| tokenizer.encode(text).map_err(|error| error.to_string())),
            bos: tokenizer.boundary_tokens().bos,
            prefix: tokenizer.bos_id().or(tokenizer.eos_id()),
            max_len,
            delimiter: delimiter.to_owned(),
        }
    }

    /// The requests of `item`, the item `index` of a task. On failure, the reason.
    pub(crate) fn requests(&self, index: usize, item: &Item, kind: TaskKind) -> Result<ItemRequests, String> {
        if kind == TaskKind::Perplexity {
            return self.rolling(index, &(self.encode)(&item.choices[0])?);
        }
        if kind == TaskKind::Representation {
            return Ok(ItemRequests::none());
        }
        if kind == TaskKind::InContext {
            return Ok(ItemRequests { requests: vec![self.chained(index, item)?], truncated: false });
        }
        let mut of_item = ItemRequests::none();
        if kind == TaskKind::SuffixMeanCe {
            for (choice, pair) in self.suffixes(item)?.into_iter().enumerate() {
                self.add(&mut of_item, pair, Request::of_choice(index, choice))?;
            }
            return Ok(of_item);
        }
        for choice in 0..item.choices.len() {
            let (context, text) = item.pair(choice);
            let pair = match kind {
                TaskKind::FullPromptMeanCe => self.whole(&format!("{context}{}{text}", self.delimiter)),
                _ => self.pair(&context, text),
            };
            self.add(&mut of_item, pair, Request::of_choice(index, choice))?;
        }
        Ok(of_item)
    }

    /// Adds the requests of `item`'s choices after `context` instead of their own context.
    pub(crate) fn add_unconditional(
        &self,
        of_item: &mut ItemRequests,
        index: usize,
        item: &Item,
        context: &str,
    ) -> Result<(), String> {
        for (choice, text) in item.choices.iter().enumerate() {
            let request = Request { unconditional: true, ..Request::of_choice(index, choice) };
            self.add(of_item, self.pair(context, text), request)?;
        }
        Ok(())
    }

    /// Adds `request`, which has no tokens yet, with the tokens of `pair`.
    fn add(
        &self,
        of_item: &mut ItemRequests,
        pair: Result<EncodedPair, String>,
        mut request: Request,
    ) -> Result<(), String> {
        let continuation = &mut request.continuations[0];
        let EncodedPair { context, tokens, is_cut } =
            pair.map_err(|message| format!("choice {} {message}", continuation.choice))?;
        continuation.tokens = tokens;
        request.context = context;
        of_item.truncated |= is_cut;
        of_item.add(request, self.max_len);
        Ok(())
    }

    /// `text` to score after `context`, which is truncated on the left if both together are too long.
    fn pair(&self, context: &str, text: &str) -> Result<EncodedPair, String> {
        let (context, tokens) = self.split(context, &format!("{}{text}", self.delimiter))?;
        self.fit(context, tokens)
    }

    /// The complete prompt of each choice, split where the prompts diverge. If a continuation follows the
    /// choices, split at the beginning of their common suffix.
    fn suffixes(&self, item: &Item) -> Result<Vec<Result<EncodedPair, String>>, String> {
        let prompt = |choice| {
            let (context, text) = item.pair(choice);
            self.text(&format!("{context}{}{text}", self.delimiter))
        };
        let prompts = (0..item.choices.len()).map(prompt).collect::<Result<Vec<_>, _>>()?;
        let shortest = prompts.iter().map(Vec::len).min().unwrap_or(0);
        let alike = |index: &usize| {
            let token = |prompt: &Vec<u32>| match item.continuation {
                None => prompt[*index],
                Some(_) => prompt[prompt.len() - 1 - *index],
            };
            prompts.iter().all(|prompt| token(prompt) == token(&prompts[0]))
        };
        let alike = (0..shortest).take_while(alike).count();
        let start = |len: usize| match item.continuation {
            // If a prompt is a prefix of all others, its last token is scored.
            None => alike.min(len.saturating_sub(1)),
            Some(_) => len - alike,
        };
        let cut = |mut prompt: Vec<u32>| {
            let tokens = prompt.split_off(start(prompt.len()));
            // A first token needs a token before it that predicts it.
            let context = if prompt.is_empty() { vec![self.prefix()?] } else { prompt };
            self.fit(context, tokens)
        };
        Ok(prompts.into_iter().map(cut).collect())
    }

    /// Truncates the context on the left to what fits the context length with the tokens to score.
    fn fit(&self, mut context: Vec<u32>, tokens: Vec<u32>) -> Result<EncodedPair, String> {
        let (found, max_len) = (tokens.len(), self.max_len);
        if found == 0 {
            return Err("adds no token to the context".to_owned());
        }
        if found > max_len {
            return Err(format!("has {found} tokens, more than the context length {max_len}"));
        }
        let dropped = context.len().saturating_sub(max_len + 1 - found);
        context.drain(..dropped);
        Ok(EncodedPair { context, tokens, is_cut: dropped > 0 })
    }

    /// A complete prompt to score: every token after the first (BOS, if texts begin with it), which nothing
    /// predicts. A prompt that is too long is truncated on the left, after BOS (`OpenCompass` sets
    /// `truncation_side='left'` and `max_length`).
    fn whole(&self, prompt: &str) -> Result<EncodedPair, String> {
        let mut context = self.text(prompt)?;
        let start = usize::from(self.bos.is_some());
        let dropped = context.len().saturating_sub(self.max_len);
        context.drain(start..start + dropped);
        if context.len() < 2 {
            return Err("gives a prompt with fewer than 2 tokens".to_owned());
        }
        let tokens = context.split_off(1);
        Ok(EncodedPair { context, tokens, is_cut: dropped > 0 })
    }

    /// Tokens of context and continuation. Spaces at the end of the context go to the continuation. Both are
    /// encoded as one text. The tokens beyond those of the context alone are the continuation.
    fn split(&self, context: &str, continuation: &str) -> Result<(Vec<u32>, Vec<u32>), String> {
        if context.is_empty() {
            let mut tokens = (self.encode)(continuation)?;
            let prefix = self.prefix()?;
            if tokens.first() == Some(&prefix) {
                tokens.remove(0);
            }
            return Ok((vec![prefix], tokens));
        }
        let mut whole = self.text(&format!("{context}{continuation}"))?;
        let mut context = self.text(context.trim_end_matches(is_python_space))?;
        let tokens = whole.split_off(context.len().min(whole.len()));
        if context.is_empty() {
            // The harness fails on a context of spaces only. Treating it as an empty one is the least
            // surprising.
            context.push(self.prefix()?);
        }
        Ok((context, tokens))
    }

    /// The first `longest` tokens of a text, at most the context length, and the number of special tokens at
    /// their beginning.
    pub(crate) fn beginning(&self, text: &str, longest: usize) -> Result<(Vec<u32>, usize), String> {
        let mut tokens = self.text(text)?;
        tokens.truncate(longest.min(self.max_len));
        Ok((tokens, usize::from(self.bos.is_some())))
    }

    pub(super) fn text(&self, text: &str) -> Result<Vec<u32>, String> {
        Ok(self.bos.into_iter().chain((self.encode)(text)?).collect())
    }

    fn prefix(&self) -> Result<u32, String> {
        self.prefix
            .ok_or_else(|| "the context is empty, and the tokenizer has neither BOS nor EOS".to_owned())
    }

    /// Windows over a text in which every token is scored once. The first begins with the prefix token. Each
    /// later one scores the next `max_len` tokens (the last, the remaining ones) after as many earlier tokens
    /// as fit, at least one.
    fn rolling(&self, item: usize, tokens: &[u32]) -> Result<ItemRequests, String> {
        let first = tokens.len().min(self.max_len);
        if first == 0 {
            return Err("the text has no tokens".to_owned());
        }
        let window = |context: Vec<u32>, tokens: &[u32]| Request {
            item,
            unconditional: false,
            context,
            continuations: vec![Continuation { choice: 0, given: Vec::new(), tokens: tokens.to_vec() }],
        };
        let mut requests = vec![window(vec![self.prefix()?], &tokens[..first])];
        let mut start = first;
        while start < tokens.len() {
            let end = (start + self.max_len).min(tokens.len());
            requests.push(window(tokens[end - self.max_len - 1..start].to_vec(), &tokens[start..end]));
            start = end;
        }
        Ok(ItemRequests { requests, truncated: false })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::tasks::task::TARGET_DELIMITER;

    const BOS: u32 = 1;

    /// A toy tokenizer with one token per character, its code point, except that " a", "b c" and two spaces
    /// are single tokens.
    pub(crate) fn encoder(bos: Option<u32>, max_len: usize) -> RequestEncoder<'static> {
        RequestEncoder {
            encode: Box::new(|text| Ok(toy_tokens(text))),
            bos,
            prefix: Some(BOS),
            max_len,
            delimiter: TARGET_DELIMITER.to_owned(),
        }
    }

    fn toy_tokens(text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let merged = ["b c", " a", "  "].into_iter().position(|merge| rest.starts_with(merge));
            let (token, len) =
                merged.map_or((u32::from(first), first.len_utf8()), |i| (1000 + i as u32, [3, 2, 2][i]));
            tokens.push(token);
            rest = &rest[len..];
        }
        tokens
    }

    fn item(context: &str, choices: &[&str]) -> Item {
        Item {
            context: context.into(),
            choices: choices.iter().map(|&choice| choice.into()).collect(),
            ..Item::default()
        }
    }

    fn chars(text: &str) -> Vec<u32> {
        text.chars().map(u32::from).collect()
    }

    fn one(encoder: &RequestEncoder, context: &str, choice: &str) -> (Vec<u32>, Vec<u32>) {
        let ItemRequests { mut requests, .. } =
            encoder.requests(0, &item(context, &[choice]), TaskKind::GreedyMatch).unwrap();
        assert_eq!(requests.len(), 1);
        let Request { context, mut continuations, .. } = requests.remove(0);
        (context, continuations.remove(0).tokens)
    }

    #[test]
    fn the_delimiter_belongs_to_the_continuation() {
        assert_eq!(one(&encoder(None, 99), "xy", "z"), (chars("xy"), chars(" z")));
        assert_eq!(one(&encoder(None, 99), "xy", "a"), (chars("xy"), vec![1001]));
        assert_eq!(one(&encoder(Some(BOS), 99), "x", "z"), ([vec![BOS], chars("x")].concat(), chars(" z")));
    }

    #[test]
    fn spaces_at_the_end_of_the_context_go_to_the_continuation() {
        assert_eq!(one(&encoder(None, 99), "x ", "z"), (chars("x"), vec![1002, u32::from('z')]));
        assert_eq!(
            one(&encoder(None, 99), "x\n\u{1c}\u{3000}", "z"),
            (chars("x"), chars("\n\u{1c}\u{3000} z"))
        );
    }

    #[test]
    fn a_token_over_the_border_is_cut_where_the_context_ends() {
        // "xb" is two tokens. With " c" it is "x", "b c": the continuation begins after two tokens.
        assert_eq!(one(&encoder(None, 99), "xb", "cd"), (chars("xb"), chars("d")));
        let refused = encoder(None, 99).requests(0, &item("xb", &["c"]), TaskKind::GreedyMatch).unwrap_err();
        assert!(refused.contains("choice 0 adds no token"), "{refused}");
    }

    #[test]
    fn an_empty_context_is_the_prefix_token() {
        assert_eq!(one(&encoder(None, 99), "", "z"), (vec![BOS], chars(" z")));
        assert_eq!(one(&encoder(Some(BOS), 99), "", "z"), (vec![BOS], chars(" z")));
        assert_eq!(one(&encoder(None, 99), " ", "z"), (vec![BOS], vec![1002, u32::from('z')]));
        assert_eq!(one(&encoder(Some(BOS), 99), " ", "z"), (vec![BOS], vec![1002, u32::from('z')]));
        let mut none = encoder(None, 99);
        none.prefix = None;
        assert!(
            none.requests(0, &item("", &["z"]), TaskKind::GreedyMatch)
                .unwrap_err()
                .contains("neither BOS nor EOS")
        );
    }

    #[test]
    fn choices_share_their_context_while_they_fit_into_a_row() {
        let requests = |max_len| {
            encoder(None, max_len)
                .requests(7, &item("xyz", &["p", "qr", "s"]), TaskKind::MultipleChoice)
                .unwrap()
        };
        let shapes = |max_len| -> Vec<(usize, usize)> {
            requests(max_len).requests.iter().map(|r| (r.context.len(), r.continuations.len())).collect()
        };
        assert_eq!(shapes(7), [(3, 3)]);
        assert_eq!(requests(7).requests[0].input_len(), 7);
        assert_eq!(shapes(6), [(3, 2), (3, 1)]);
        assert_eq!(shapes(5), [(3, 1); 3]);
        assert!(!requests(5).truncated);
        assert!(requests(7).requests.iter().all(|request| request.item == 7));
    }

    /// `(context + continuation)[-(max_len + 1):][:-1]` is read, whatever the lengths of other choices.
    #[test]
    fn long_contexts_lose_tokens_on_their_left() {
        let ItemRequests { requests, truncated } =
            encoder(None, 4).requests(0, &item("uvwxyz", &["p", "qr"]), TaskKind::MultipleChoice).unwrap();
        assert!(truncated);
        let contexts: Vec<&[u32]> = requests.iter().map(|request| request.context.as_slice()).collect();
        assert_eq!(contexts, [chars("xyz"), chars("yz")]);
        assert!(requests.iter().all(|request| request.input_len() == 4));
    }

    #[test]
    fn a_continuation_follows_each_choice() {
        let partial = Item { continuation: Some("vw".into()), ..item("u", &["xy", "z"]) };
        let ItemRequests { requests, .. } =
            encoder(Some(BOS), 99).requests(0, &partial, TaskKind::MultipleChoice).unwrap();
        let context = |text: &str| [vec![BOS], chars(text)].concat();
        assert_eq!([&requests[0].context, &requests[1].context], [&context("uxy"), &context("uz")]);
        assert!(requests.iter().all(|request| request.continuations[0].tokens == chars(" vw")));
        assert_eq!((requests[0].continuations[0].choice, requests[1].continuations[0].choice), (0, 1));
    }

    #[test]
    fn prompts_are_scored_from_where_they_part() {
        let suffixes = |item: &Item, bos, max_len| {
            let of_item = encoder(bos, max_len).requests(0, item, TaskKind::SuffixMeanCe).unwrap();
            let continuation = |request: Request| {
                let context = request.context;
                request.continuations.into_iter().map(move |scored| (context.clone(), scored.tokens))
            };
            let parts: Vec<_> = of_item.requests.into_iter().flat_map(continuation).collect();
            (parts, of_item.truncated)
        };
        let context = |text: &str| [vec![BOS], chars(text)].concat();
        // All answers begin with "p", which is not part of the mean. An answer that is a prefix of another
        // keeps its last token.
        let (parts, _) = suffixes(&item("x", &["pqr", "ps", "pt"]), Some(BOS), 99);
        let expected = [("x p", "qr"), ("x p", "s"), ("x p", "t")];
        assert_eq!(parts, expected.map(|(before, scored)| (context(before), chars(scored))));
        let (parts, _) = suffixes(&item("x", &["pq", "pqr"]), Some(BOS), 99);
        assert_eq!(
            parts,
            [("x p", "q"), ("x pq", "r")].map(|(before, scored)| (context(before), chars(scored)))
        );
        // Contexts differ, and their common suffix is scored.
        let schema = Item { continuation: Some("vw".into()), ..item("", &["xyu", "zu"]) };
        let (parts, _) = suffixes(&schema, Some(BOS), 99);
        assert_eq!(
            parts,
            [("xy", "u vw"), ("z", "u vw")].map(|(before, scored)| (context(before), chars(scored)))
        );
        // No common prefix and no BOS: the prefix token precedes the first token.
        let bare = Item { continuation: None, ..item("", &["xy", "z"]) };
        let encoder = RequestEncoder { delimiter: String::new(), ..encoder(None, 99) };
        let of_item = encoder.requests(0, &bare, TaskKind::SuffixMeanCe).unwrap();
        assert_eq!(of_item.requests[0].context, [BOS]);
        assert_eq!(of_item.requests[0].continuations[1].tokens, chars("z"));
        let (parts, truncated) = suffixes(&item("uvwx", &["pq", "r"]), Some(BOS), 4);
        assert_eq!((&parts[0].0, &parts[1].0, truncated), (&chars("wx "), &chars("vwx "), true));
    }

    #[test]
    fn unconditional_choices_follow_another_context() {
        let encoder = encoder(None, 99);
        let item = item("x", &["p", "q"]);
        let mut of_item = encoder.requests(3, &item, TaskKind::MultipleChoice).unwrap();
        encoder.add_unconditional(&mut of_item, 3, &item, "").unwrap();
        encoder.add_unconditional(&mut of_item, 3, &item, "x").unwrap();
        let shapes: Vec<_> = of_item
            .requests
            .iter()
            .map(|r| (r.unconditional, r.context.clone(), r.continuations.len()))
            .collect();
        assert_eq!(shapes, [(false, chars("x"), 2), (true, vec![BOS], 2), (true, chars("x"), 2)]);
    }

    #[test]
    fn a_whole_prompt_is_scored_from_its_second_token_on() {
        let whole = |bos, max_len| {
            let item = item("xyz", &["p", "qr"]);
            let of_item = encoder(bos, max_len).requests(0, &item, TaskKind::FullPromptMeanCe).unwrap();
            let tokens = |r: &Request| {
                r.continuations.iter().map(|c| (r.context.clone(), c.tokens.clone())).collect::<Vec<_>>()
            };
            (of_item.requests.iter().flat_map(tokens).collect::<Vec<_>>(), of_item.truncated)
        };
        let (prompts, truncated) = whole(Some(BOS), 99);
        assert_eq!(prompts, [(vec![BOS], chars("xyz p")), (vec![BOS], chars("xyz qr"))]);
        assert!(!truncated);
        assert_eq!(whole(None, 99).0[0], (chars("x"), chars("yz p")));
        assert_eq!(whole(Some(BOS), 4), (vec![(vec![BOS], chars("z p")), (vec![BOS], chars(" qr"))], true));
        assert_eq!(whole(None, 4).0, [(chars("y"), chars("z p")), (chars("z"), chars(" qr"))]);
        let refused =
            encoder(None, 1).requests(0, &item("x", &["p", "q"]), TaskKind::FullPromptMeanCe).unwrap_err();
        assert!(refused.contains("choice 0 gives a prompt with fewer than 2 tokens"), "{refused}");
    }

    #[test]
    fn a_choice_longer_than_the_model_reads_is_refused() {
        assert_eq!(one(&encoder(None, 4), "x", "pqr").0, chars("x"));
        let refused = encoder(None, 4).requests(0, &item("x", &["pqrs"]), TaskKind::GreedyMatch).unwrap_err();
        assert!(refused.contains("choice 0 has 5 tokens"), "{refused}");
    }

    fn windows(text: &str, max_len: usize) -> Vec<(Vec<u32>, Vec<u32>)> {
        let ItemRequests { requests, .. } =
            encoder(Some(BOS), max_len).requests(0, &item("", &[text]), TaskKind::Perplexity).unwrap();
        requests.into_iter().map(|mut r| (r.context, r.continuations.remove(0).tokens)).collect()
    }

    /// The windows of `make_disjoint_window` over `get_rolling_token_windows(..., context_len=1)`.
    #[test]
    fn rolling_windows_score_every_token_once() {
        assert_eq!(windows("uvw", 4), [(vec![BOS], chars("uvw"))]);
        assert_eq!(windows("uvwx", 4), [(vec![BOS], chars("uvwx"))]);
        let long = windows("uvwxyzUVWX", 4);
        let expected = [("", "uvwx"), ("x", "yzUV"), ("zUV", "WX")];
        for ((context, tokens), (before, scored)) in long.iter().zip(expected) {
            assert_eq!(*tokens, chars(scored));
            assert_eq!(*context, if before.is_empty() { vec![BOS] } else { chars(before) });
            assert!(context.len() + tokens.len() <= 5);
        }
        assert_eq!(long.len(), 3);
    }
}
