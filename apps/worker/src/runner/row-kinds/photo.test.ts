import { expect, test } from '@jest/globals';
import { type PhotoPreprocess, photoPreprocess } from '@onqueue/shared';
import type { PixelImage } from './luma.ts';
import { photoWriter } from './photo.ts';

/**
 * The numbers were computed with Pillow 13 (`Image.resize`, `ImageOps.fit`, `ImageOps.pad`, `convert("L")`) and numpy, of a picture of
 * 9 x 6 with the channels 37x + 91y, 13x² + 7y and 255 - 29x + 17y², modulo 256.
 */
const PICTURE = pictureOf(9, 6, (x, y) => [37 * x + 91 * y, 13 * x * x + 7 * y, 255 - 29 * x + 17 * y * y]);

function pictureOf(width: number, height: number, colorAt: (x: number, y: number) => number[]): PixelImage {
  const pixels = Array.from({ length: width * height }, (_, at) => colorAt(at % width, Math.floor(at / width)));
  const channels = (pixels[0]?.length ?? 3) as PixelImage['channels'];
  return { width, height, channels, data: Uint8Array.from(pixels.flat(), (value) => ((value % 256) + 256) % 256) };
}

/** Bytes as they are, one pixel after the other. */
function photo(change: Partial<PhotoPreprocess>): PhotoPreprocess {
  return photoPreprocess.parse({
    type: 'photo',
    width: 4,
    height: 3,
    color: 'rgb',
    fit: 'stretch',
    resample: 'bilinear',
    scale: 1,
    layout: 'NHWC',
    ...change,
  });
}

function written(picture: PixelImage, preprocess: PhotoPreprocess): number[] {
  const { dims, write } = photoWriter(preprocess);
  const target = new Float32Array(dims.reduce((product, size) => product * size, 1));
  write(picture, target);
  return Array.from(target);
}

// biome-ignore format: rows of numbers
const STRETCHED = {
  nearest: [128, 20, 243, 202, 124, 185, 20, 76, 127, 94, 132, 69, 54, 34, 123, 128, 138, 65, 202, 90, 7, 20, 146, 205, 236, 48, 139, 54, 152, 81, 128, 104, 23, 202, 160, 221],
  box: [65, 11, 186, 157, 130, 177, 122, 145, 105, 68, 99, 47, 119, 25, 96, 83, 144, 108, 176, 159, 143, 122, 113, 149, 173, 39, 142, 94, 158, 133, 102, 173, 125, 176, 127, 131],
  bilinear: [89, 21, 171, 134, 116, 177, 128, 148, 123, 96, 125, 64, 111, 34, 102, 108, 129, 130, 132, 161, 130, 128, 138, 134, 143, 46, 145, 111, 141, 127, 105, 173, 111, 150, 150, 148],
  bicubic: [83, 12, 176, 140, 117, 186, 131, 157, 123, 90, 120, 53, 110, 26, 91, 102, 131, 126, 137, 171, 134, 129, 134, 139, 149, 39, 151, 108, 144, 126, 99, 184, 107, 156, 147, 151],
  lanczos: [83, 7, 174, 140, 114, 192, 132, 163, 124, 92, 116, 49, 111, 22, 87, 105, 129, 128, 134, 178, 139, 128, 131, 135, 147, 36, 159, 107, 143, 121, 99, 192, 102, 156, 145, 157],
} as const;

test.each(Object.entries(STRETCHED))('shrinks as Pillow does: %s', (resample, expected) => {
  expect(written(PICTURE, photo({ resample: resample as PhotoPreprocess['resample'] }))).toEqual(expected);
});

// biome-ignore format: rows of numbers
const ENLARGED = {
  nearest: [0, 0, 255, 37, 13, 226, 74, 52, 197, 74, 52, 197, 111, 117, 168, 148, 208, 139, 185, 69, 110, 222, 212, 81, 222, 212, 81, 3, 125, 52, 40, 64, 23, 91, 7, 16, 128, 20, 243, 165, 59, 214, 165, 59, 214, 202, 124, 185, 239, 215, 156, 20, 76, 127, 57, 219, 98, 57, 219, 98, 94, 132, 69, 131, 71, 40, 182, 14, 67, 219, 27, 38, 0, 66, 9, 0, 66, 9, 37, 131, 236, 74, 222, 207, 111, 83, 178, 148, 226, 149, 148, 226, 149, 185, 139, 120, 222, 78, 91, 17, 21, 152, 54, 34, 123, 91, 73, 94, 91, 73, 94, 128, 138, 65, 165, 229, 36, 202, 90, 7, 239, 233, 234, 239, 233, 234, 20, 146, 205, 57, 85, 176, 17, 21, 152, 54, 34, 123, 91, 73, 94, 91, 73, 94, 128, 138, 65, 165, 229, 36, 202, 90, 7, 239, 233, 234, 239, 233, 234, 20, 146, 205, 57, 85, 176, 108, 28, 15, 145, 41, 242, 182, 80, 213, 182, 80, 213, 219, 145, 184, 0, 236, 155, 37, 97, 126, 74, 240, 97, 74, 240, 97, 111, 153, 68, 148, 92, 39, 199, 35, 168, 236, 48, 139, 17, 87, 110, 17, 87, 110, 54, 152, 81, 91, 243, 52, 128, 104, 23, 165, 247, 250, 165, 247, 250, 202, 160, 221, 239, 99, 192],
  bicubic: [0, 0, 255, 22, 7, 236, 54, 31, 209, 84, 73, 185, 115, 135, 162, 145, 208, 138, 182, 80, 114, 233, 165, 91, 127, 187, 67, 0, 104, 42, 38, 62, 21, 68, 4, 48, 92, 12, 207, 135, 36, 252, 173, 78, 208, 206, 140, 173, 233, 213, 150, 68, 85, 126, 61, 170, 103, 77, 192, 79, 81, 109, 54, 110, 67, 33, 167, 10, 32, 207, 18, 85, 119, 42, 76, 54, 84, 123, 96, 146, 239, 125, 219, 204, 74, 91, 181, 86, 176, 144, 135, 198, 113, 185, 115, 89, 209, 73, 68, 99, 17, 124, 135, 25, 77, 77, 49, 33, 35, 91, 68, 76, 153, 150, 120, 226, 117, 164, 98, 87, 207, 183, 166, 162, 205, 200, 104, 122, 165, 141, 80, 144, 30, 23, 105, 54, 31, 158, 104, 55, 163, 153, 97, 126, 165, 159, 89, 114, 232, 66, 143, 104, 34, 189, 189, 140, 120, 211, 189, 32, 128, 152, 72, 86, 131, 129, 29, 26, 159, 37, 184, 162, 61, 228, 178, 103, 191, 171, 165, 168, 6, 238, 144, 33, 110, 118, 66, 195, 117, 104, 217, 105, 147, 134, 78, 171, 92, 57, 201, 34, 174, 246, 42, 147, 112, 66, 119, 6, 108, 96, 57, 170, 73, 94, 243, 49, 124, 115, 9, 155, 200, 178, 185, 222, 255, 217, 139, 217, 243, 97, 196],
} as const;

test.each(Object.entries(ENLARGED))('enlarges as Pillow does: %s', (resample, expected) => {
  const change = { resample: resample as PhotoPreprocess['resample'], width: 11, height: 7 };
  expect(written(PICTURE, photo(change))).toEqual(expected);
});

// biome-ignore format: rows of numbers
const FITTED: [string, Partial<PhotoPreprocess>, number[]][] = [
  ['cover', { fit: 'cover', width: 4, height: 4 }, [100, 49, 209, 153, 143, 168, 147, 134, 122, 115, 170, 81, 104, 58, 109, 110, 152, 178, 111, 143, 151, 126, 179, 132, 113, 69, 133, 128, 163, 114, 129, 154, 88, 135, 190, 157, 124, 78, 155, 92, 172, 114, 86, 163, 86, 139, 199, 169]],
  ['contain', { fit: 'contain', width: 5, height: 5, resample: 'bicubic', pad_color: 114 }, [114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 78, 8, 168, 119, 73, 196, 157, 160, 161, 113, 158, 98, 87, 103, 46, 115, 22, 91, 96, 87, 113, 120, 174, 131, 143, 172, 145, 124, 117, 131, 152, 35, 142, 126, 100, 155, 82, 187, 84, 120, 185, 139, 161, 130, 144, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114, 114]],
  ['center_crop', { fit: 'center_crop', shorter_side: 4, width: 3, height: 3 }, [153, 143, 168, 147, 134, 122, 115, 170, 81, 110, 152, 178, 111, 143, 151, 126, 179, 132, 128, 163, 114, 129, 154, 88, 135, 190, 157]],
  ['center_crop of a picture that is too small', { fit: 'center_crop', width: 4, height: 8 }, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 74, 52, 197, 111, 117, 168, 148, 208, 139, 185, 69, 110, 165, 59, 214, 202, 124, 185, 239, 215, 156, 20, 76, 127, 0, 66, 9, 37, 131, 236, 74, 222, 207, 111, 83, 178, 91, 73, 94, 128, 138, 65, 165, 229, 36, 202, 90, 7, 182, 80, 213, 219, 145, 184, 0, 236, 155, 37, 97, 126, 17, 87, 110, 54, 152, 81, 91, 243, 52, 128, 104, 23, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  ['grayscale', { color: 'grayscale' }, [58, 128, 139, 109, 65, 122, 148, 134, 86, 131, 146, 150]],
];

test.each(FITTED)('fits as Pillow and torchvision do: %s', (_, change, expected) => {
  expect(written(PICTURE, photo(change))).toEqual(expected);
});

test('one pixel fills the tensor, and a column is as good as a row', () => {
  const one = pictureOf(1, 1, () => [7, 8, 9]);
  for (const fit of ['stretch', 'contain', 'cover', 'center_crop'] as const) {
    const change = { fit, width: 2, height: 2, ...(fit === 'center_crop' ? { shorter_side: 2 } : {}) };
    expect(written(one, photo(change))).toEqual([7, 8, 9, 7, 8, 9, 7, 8, 9, 7, 8, 9]);
  }
  const column = pictureOf(1, 4, (_, y) => [y, y, y]);
  expect(written(column, photo({ width: 1, height: 2, resample: 'box' }))).toEqual([1, 1, 1, 3, 3, 3]);
});

test('channels come in the order and the layout of the tensor, with a mean and a deviation of their own', () => {
  const two = pictureOf(2, 1, (x) => [10 + x, 20 + x, 30 + x]);
  const size = { width: 2, height: 1 };
  expect(written(two, photo({ ...size, layout: 'NCHW' }))).toEqual([10, 11, 20, 21, 30, 31]);
  expect(written(two, photo({ ...size, color: 'bgr' }))).toEqual([30, 20, 10, 31, 21, 11]);
  expect(written(two, photo({ ...size, color: 'bgr', layout: 'NCHW', mean: [30, 20, 10], std: [1, 2, 4] }))).toEqual([
    0, 1, 0, 0.5, 0, 0.25,
  ]);
  // torchvision's ToTensor and Normalize with the numbers of ImageNet.
  const { scale: _, ...imageNet } = photo({ ...size, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] });
  for (const [index, value] of [-1.9467, -1.6856, -1.2816, -1.9295, -1.6681, -1.2641].entries()) {
    expect(written(two, imageNet as PhotoPreprocess)[index]).toBeCloseTo(value, 4);
  }
});

test('transparent pictures are put on the background, taken without their alpha, or refused', () => {
  const clear = pictureOf(1, 1, () => [100, 200, 50, 51]);
  const size = { width: 1, height: 1 };
  expect(written(clear, photo(size))).toEqual([224, 244, 214]);
  expect(written(clear, photo({ ...size, background: [0, 10, 255] }))).toEqual([20, 48, 214]);
  expect(written(clear, photo({ ...size, alpha: 'drop' }))).toEqual([100, 200, 50]);
  expect(() => written(clear, photo({ ...size, alpha: 'refuse' }))).toThrow('transparent in part');
  const opaque = pictureOf(1, 1, () => [1, 2, 3, 255]);
  expect(written(opaque, photo({ ...size, alpha: 'refuse' }))).toEqual([1, 2, 3]);
  const gray = pictureOf(1, 1, () => [100, 51]);
  expect(written(gray, photo(size))).toEqual([224, 224, 224]);
});

test('a picture that is a hair is refused before it costs anything', () => {
  const hair = { width: 1, height: 101, channels: 1, data: new Uint8Array(101) } as const;
  expect(() => written(hair, photo({}))).toThrow('The image has 1 x 101 pixels, and may be 100 times as long as wide.');
  expect(written(hair, photo({ max_aspect_ratio: 101, width: 1, height: 1 }))).toEqual([0, 0, 0]);
});

test.each([
  ['stretch', {}, [9, 6]],
  ['contain', { fit: 'contain', width: 30, height: 30 }, [9, 6]],
  ['cover', { fit: 'cover', width: 30, height: 30 }, [9, 6]],
  ['center_crop', { fit: 'center_crop', shorter_side: 12, width: 8, height: 8 }, [9, 6]],
] as const)('says where the picture lies in the tensor: %s', (_, change, [width, height]) => {
  const { dims, write } = photoWriter(photo(change as Partial<PhotoPreprocess>));
  const place = write(PICTURE, new Float32Array(dims.reduce((product, size) => product * size, 1)));
  expect(place).toMatchObject({ width, height });
  // The middle of the picture is that of the tensor, whatever the fit.
  expect((place.width / 2) * place.scaleX + place.offsetX).toBeCloseTo((dims[1] ?? 0) / 2, 9);
  expect((place.height / 2) * place.scaleY + place.offsetY).toBeCloseTo((dims[0] ?? 0) / 2, 9);
});

test.each([
  [{ shorter_side: 8 }, 'shorter_side is for center_crop'],
  [{ mean: [1, 2] }, 'one for each channel'],
  [{ color: 'grayscale', std: [1, 2, 3] }, 'one for each channel'],
  [{ std: [1, 0, 1] }, 'is not 0'],
] as [object, string][])('refuses what does not fit together: %#', (change, message) => {
  expect(() => photo(change)).toThrow(message);
});

test('a tensor of uint8 takes the bytes as they are', () => {
  const { scale: _, ...bytes } = photo({ width: 2, height: 1, layout: 'NCHW' });
  const target = new Uint8Array(6);
  photoWriter(bytes as PhotoPreprocess, 'uint8').write(
    pictureOf(2, 1, (x) => [10 + x, 20 + x, 30 + x]),
    target,
  );
  expect([...target]).toEqual([10, 11, 20, 21, 30, 31]);
  expect(() => photoWriter({ ...bytes, mean: 0.5 } as PhotoPreprocess, 'uint8')).toThrow('without scale, mean and std');
});
