//! What is asked of the whole shard and answered over several turns; here, which channels have subscribers.

use std::collections::{BinaryHeap, VecDeque};

use super::Shard;
use super::channels::Channels;
use super::events::{Answered, Answerer, ChannelsAsked, ChannelsFound};
use super::user_survey::UserSurvey;
use crate::access::ChannelGlob;
use crate::limits::{SURVEY_LOOKS_PER_TURN, SURVEY_TAKE_LOOKS, SURVEYS_MAX};
use crate::model::{ChannelName, ErrorCode};

/// Surveys under way, one after another, a piece in each turn.
#[derive(Default)]
pub struct Surveys(VecDeque<Survey>);

enum Survey {
    Channels(ChannelSurvey),
    Users(UserSurvey),
}

/// One look at every channel of the shard for the first names, in their order, after a given one.
struct ChannelSurvey {
    /// `None`: every name matches.
    glob: Option<ChannelGlob>,
    after: Box<str>,
    count_max: usize,
    /// Slot to look at next.
    next: u32,
    /// The first names so far, with their subscribers here.
    found: BinaryHeap<(ChannelName, u32)>,
    has_more: bool,
    answerer: Answerer,
}

impl Shard {
    pub(super) fn begin_survey(&mut self, asked: ChannelsAsked, answerer: Answerer) {
        let glob = match &*asked.pattern {
            "" => None,
            pattern => match ChannelGlob::parse(pattern) {
                Ok(glob) => Some(glob),
                Err(_) => return (answerer.0)(Err(ErrorCode::BadRequest)),
            },
        };
        if self.surveys.0.len() >= SURVEYS_MAX {
            return (answerer.0)(Err(ErrorCode::TooManyRequests));
        }
        let ChannelsAsked { after, count_max, .. } = asked;
        let (found, has_more) = (BinaryHeap::new(), false);
        let survey = ChannelSurvey { glob, after, count_max, next: 0, found, has_more, answerer };
        self.surveys.0.push_back(Survey::Channels(survey));
    }

    pub(super) fn begin_user_survey(&mut self, answerer: Answerer) {
        if self.surveys.0.len() >= SURVEYS_MAX {
            return (answerer.0)(Err(ErrorCode::TooManyRequests));
        }
        self.surveys.0.push_back(Survey::Users(UserSurvey::new(answerer)));
    }

    /// A turn's share of the first survey. Returns whether more is left.
    pub(super) fn survey_some(&mut self) -> bool {
        let Some(survey) = self.surveys.0.front_mut() else { return false };
        let is_over = match survey {
            Survey::Channels(survey) => survey.look(&mut self.channels),
            Survey::Users(survey) => survey.look(&self.connections),
        };
        if is_over {
            match self.surveys.0.pop_front() {
                Some(Survey::Channels(survey)) => survey.answer(),
                Some(Survey::Users(survey)) => survey.answer(),
                None => {}
            }
        }
        !self.surveys.0.is_empty()
    }
}

impl ChannelSurvey {
    /// Looks at the next channels. Returns whether there are no further ones.
    fn look(&mut self, channels: &mut Channels) -> bool {
        let mut looks = SURVEY_LOOKS_PER_TURN;
        while looks > 0 {
            if self.next >= channels.slots() {
                return true;
            }
            looks -= 1;
            if let Some(channel) = channels.at(self.next)
                && !channel.audience.is_empty()
                && self.take(&channel.name, channel.audience.len() as u32)
            {
                looks = looks.saturating_sub(SURVEY_TAKE_LOOKS);
            }
            self.next += 1;
        }
        false
    }

    /// Returns whether the channel is one of the first so far.
    fn take(&mut self, name: &ChannelName, subscribers: u32) -> bool {
        if name.as_str() <= &*self.after {
            return false;
        }
        let is_full = self.found.len() >= self.count_max;
        // The comparison is cheaper than the pattern, but says nothing of names that do not match.
        if is_full && self.has_more && self.found.peek().is_some_and(|(last, _)| name > last) {
            return false;
        }
        if self.glob.as_ref().is_some_and(|glob| !glob.is_match(name.as_str())) {
            return false;
        }
        self.found.push((name.clone(), subscribers));
        if is_full {
            self.has_more = true;
            self.found.pop();
        }
        true
    }

    /// Unsorted: whoever asked has more time than a shard.
    fn answer(self) {
        let found = ChannelsFound { channels: self.found.into_vec(), has_more: self.has_more };
        (self.answerer.0)(Ok(Answered::Channels(found)));
    }
}
