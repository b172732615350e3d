// The texts of the page. English is the master; every other language has the same keys.

import en from './texts/en';

export type Key = keyof typeof en;
type Texts = Record<Key, string>;

export const LANGUAGES = { en: 'English', de: 'Deutsch' } as const;
export type Language = keyof typeof LANGUAGES;

const STORED = 'mlxd.language';

class Texts18n {
  language = $state<Language>('en');
  texts = $state.raw<Texts>(en);

  async use(language: Language): Promise<void> {
    this.texts = language === 'de' ? (await import('./texts/de')).default : en;
    this.language = language;
    document.documentElement.lang = language;
    localStorage.setItem(STORED, language);
  }

  /** The language of the last visit, or the browser's. */
  async begin(): Promise<void> {
    const wanted = localStorage.getItem(STORED) ?? navigator.language.slice(0, 2);
    if (wanted in LANGUAGES && wanted !== 'en') await this.use(wanted as Language);
  }
}

export const i18n = new Texts18n();

/** The text of a key; `{name}` stands for a value. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  return i18n.texts[key].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}
